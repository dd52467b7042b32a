"""The text tower's own vocabulary: unigram pieces over six languages.

Reads ``<work>/texts.json``; writes ``<work>/tokenizer/`` (tokenizer.json, tokenizer_config.json).
Texts are folded before they are cut, so that a small vocabulary reaches further: NFKC, lower
case, Latin letters without accents, hiragana as katakana, punctuation as space. A Latin word
starts with a mark; Japanese has none, as it writes no spaces.

    python -m tools.mini.vocabulary
"""

import argparse
import json
import random
import unicodedata
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from tools.mini.materials import work_folder

SIZE = 28_000
CONTEXT = 40
SPECIAL = ["<pad>", "<unk>", "<eos>"]
MARK = "\u2581"
SAMPLE = 300_000  # texts a language
LATIN = [chr(code) for code in (*range(0xDF, 0x180), *range(0x1E00, 0x1F00))]


def folds() -> list[normalizers.Normalizer]:
    """Accented Latin letters to plain ones, hiragana to katakana."""
    steps: list[normalizers.Normalizer] = []
    plain: dict[str, list[str]] = {}
    for letter in LATIN:
        base = unicodedata.normalize("NFD", letter)[0]
        if base != letter and base.isascii() and base.islower():
            plain.setdefault(base, []).append(letter)
    for base, letters in plain.items():
        steps.append(normalizers.Replace(Regex(f"[{''.join(letters)}]"), base))
    for letter, base in (("ß", "ss"), ("œ", "oe"), ("æ", "ae"), ("ø", "o"), ("ł", "l")):
        steps.append(normalizers.Replace(letter, base))
    for code in range(0x3041, 0x3097):
        steps.append(normalizers.Replace(chr(code), chr(code + 0x60)))
    return steps


def normalizer() -> normalizers.Normalizer:
    """NFKC, lower case, folds, punctuation to space, a mark before every Latin word."""
    return normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            *folds(),
            normalizers.Replace(Regex(r"[^\p{L}\p{N}\p{M}\p{So}ー]+"), " "),
            normalizers.Strip(),
            normalizers.Replace(Regex(r"(?<![a-z0-9])(?=[a-z0-9])"), MARK),
        ]
    )


def train(work: Path, size: int = SIZE) -> Tokenizer:
    """Learn the pieces and save the folder that open_clip's HFTokenizer reads."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(" ", "removed"),
            pre_tokenizers.Split(MARK, "merged_with_next"),
        ]
    )
    texts = json.loads((work / "texts.json").read_text())["pairs"]
    rng = random.Random(0)
    lines: list[str] = []
    for found in texts.values():
        rows = [text for text, _ in found]
        lines += rng.sample(rows, min(SAMPLE, len(rows)))
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=SPECIAL, unk_token="<unk>", max_piece_length=12
    )
    tokenizer.train_from_iterator(lines, trainer)
    eos = tokenizer.token_to_id("<eos>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", pair="$A $B <eos>", special_tokens=[("<eos>", eos)]
    )
    folder = work / "tokenizer"
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "eos_token": "<eos>",
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")
    return tokenizer


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Learn the vocabulary.")
    parser.add_argument("--work")
    learned = train(work_folder(parser.parse_args().work))
    print(learned.get_vocab_size())
