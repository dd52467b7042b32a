"""The bundled CLIP: materials, training, export, evaluation."""
