"""What was said of images: captions that agree, and captions that contradict each other.

Each subject has a caption; `same` says the same in other words, another language, shorter or with a
template's words around it; `other` says something else of what would be the same image. Written for
this measurement, not taken from anywhere. No person or event in it is real.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """One image's captions."""

    caption: str
    same: tuple[str, ...]
    other: tuple[str, ...]


def _subject(caption: str, same: str, other: str) -> Subject:
    return Subject(caption, tuple(same.split(" | ")), tuple(other.split(" | ")))


SUBJECTS = (
    _subject(
        "A cat sleeping on a red sofa",
        "cat asleep on a red couch | chat endormi sur un canapé rouge | sleeping cat, red sofa",
        "A dog waiting at a train station | flooded street after the storm",
    ),
    _subject(
        "Flooded street in a village in Bangladesh",
        "a village street in Bangladesh under water | rue inondée au Bangladesh, village",
        "Earthquake damage in a Turkish city | Refugees at the border of Poland",
    ),
    _subject(
        "Firefighters put out a burning car in Paris",
        "a burning car and firefighters, Paris | Feuerwehr löscht brennendes Auto in Paris",
        "Soldiers march through the capital | a football team celebrates its victory",
    ),
    _subject(
        "Protesters march against the new pension law",
        "protest march against the pension law | Demonstration gegen das neue Rentengesetz",
        "Fans wait for a rock concert | Crowd at the summer carnival in Rio",
    ),
    _subject(
        "Wooden boat on a mountain lake",
        "a boat of wood on a lake in the mountains | barca di legno su un lago di montagna",
        "Oil tanker sinking in the Gulf | airplane landing at night",
    ),
    _subject(
        "School children receive new books",
        "new books for children at school | des écoliers reçoivent de nouveaux livres",
        "Child workers in a clothing factory | Soldiers distribute weapons to a militia",
    ),
    _subject(
        "Elephant crossing a river in Kenya",
        "an elephant crosses the river, Kenya | elefante cruzando un río en Kenia",
        "Polar bear on melting ice in Greenland | lion escaped from a zoo in Berlin",
    ),
    _subject(
        "Red apples in a wooden basket",
        "basket of wood with red apples | rote Äpfel in einem Holzkorb",
        "Poisoned tomatoes recalled by a supermarket | bowl of green grapes",
    ),
    _subject(
        "Empty shelves in a supermarket in London",
        "supermarket with empty shelves, London | leere Regale in einem Londoner Supermarkt",
        "New library opens in Madrid | Furniture factory closes in Poland",
    ),
    _subject(
        "Nurse measures the blood pressure of a patient",
        "blood pressure of a patient measured by a nurse | infirmière mesurant la tension",
        "Scientist presents a new engine | Hairdresser at work in a salon",
    ),
    _subject(
        "Snow on a railway bridge in Norway",
        "railway bridge with snow, Norway | ponte ferroviario con neve in Norvegia",
        "Desert road in Namibia | Bridge collapse kills twelve in Genoa",
    ),
    _subject(
        "Farmer harvesting wheat with a tractor",
        "a tractor and a farmer at the wheat harvest | agriculteur récoltant du blé, tracteur",
        "Tank crossing a field near the front | Locusts destroy the rice crop",
    ),
    _subject(
        "Bride and groom leaving a church",
        "a bride and a groom come out of the church | Brautpaar verlässt die Kirche",
        "Funeral of a politician | Actors on the set of a vampire movie",
    ),
    _subject(
        "Old bicycle leaning on a brick wall",
        "bicycle, old, at a wall of bricks | vieux vélo contre un mur de briques",
        "Stolen motorcycle found by the police | Electric scooter charging station",
    ),
    _subject(
        "Forest fire near Athens",
        "wildfire in a forest close to Athens | Waldbrand in der Nähe von Athen",
        "Volcano eruption in Iceland | Fireworks over Sydney harbour",
    ),
    _subject(
        "Glass of orange juice on a table",
        "orange juice in a glass, table | vaso de zumo de naranja sobre una mesa",
        "Urine sample in a laboratory | Cup of black coffee and a newspaper",
    ),
    _subject(
        "Basketball player dunks during the final",
        "player dunking in the basketball final | jugador de baloncesto en la final",
        "Ballet dancer at the opera | Swimmer breaks a world record",
    ),
    _subject(
        "Long queue in front of a bakery",
        "people queue at a bakery | lange Schlange vor einer Bäckerei",
        "Voters wait at a polling station in Ohio | Passengers stranded at the airport",
    ),
    _subject(
        "Doctor vaccinates a child in a clinic",
        "a child is vaccinated by a doctor | un médecin vaccine un enfant",
        "Illegal tattoo studio closed | Dentist removes a tooth of a horse",
    ),
    _subject(
        "Wind turbines on a green hill",
        "green hill with wind turbines | Windräder auf einem grünen Hügel",
        "Nuclear power plant at the coast | Radio telescope in the desert",
    ),
    _subject(
        "Fishermen mending nets in the harbour",
        "nets mended by fishermen in a harbour | des pêcheurs réparent des filets au port",
        "Smugglers arrested at the border | Tourists learn to surf",
    ),
    _subject(
        "Statue of a horse in front of the town hall",
        "horse statue before the town hall | Pferdestatue vor dem Rathaus",
        "Dinosaur skeleton in a museum | Wreck of a space rocket",
    ),
    _subject(
        "Collapsed house after the earthquake in Nepal",
        "house in Nepal, collapsed in the earthquake | casa crollata dopo il terremoto in Nepal",
        "House bombed in Gaza | Construction of a new hotel in Dubai",
    ),
    _subject(
        "Penguin colony on a rocky beach",
        "rocky beach with a colony of penguins | colonia de pingüinos en una playa rocosa",
        "Seagulls at a garbage dump | nuns on a pilgrimage",
    ),
    _subject(
        "Street musician playing the violin",
        "a violin played by a musician in the street | Straßenmusiker spielt Geige",
        "Pickpocket caught in the subway | Carpenter repairs an old door",
    ),
    _subject(
        "Blue butterfly on a yellow flower",
        "yellow flower with a blue butterfly | papillon bleu sur une fleur jaune",
        "Invasive beetle found in Germany | Drone of the army over a field",
    ),
    _subject(
        "Astronaut repairing a satellite",
        "a satellite repaired by an astronaut | astronauta riparando un satellite",
        "Diver explores a shipwreck | Beekeeper in a white suit",
    ),
    _subject(
        "Market stall with spices in Morocco",
        "spices at a stall of a market, Morocco | étal d'épices dans un marché au Maroc",
        "Paint shop in Delhi | Chemical waste seized by customs",
    ),
    _subject(
        "President signs a climate agreement",
        "climate agreement signed by the president | Präsident unterzeichnet Klimaabkommen",
        "Bank robber writes a letter from prison | Author at a book fair",
    ),
    _subject(
        "Chess game between two old men in a park",
        "two old men play chess in a park | dos ancianos juegan al ajedrez en un parque",
        "Spies exchange documents | Homeless people wait for food",
    ),
)
TEMPLATES = ("{} - stock photo", "Image: {}", "{} | News of the day", "{}, photo by the author")
"""What sites write around a caption; it changes nothing that is said."""
YEARS = (("{}, 2014", "{}, 2022"), ("{} (March 2011)", "{} (June 2019)"))
"""Two dates of one image: one of them is wrong."""
ONE_YEAR = (("{}, 2014", "{} in May 2014"), ("{}, 2019", "{}"))
"""The same date, and one that is not said."""
