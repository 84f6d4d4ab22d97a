"""The texts and the pairs of a bundle's golden answers."""

TEXTS: tuple[str, ...] = (
    "hello world",
    "a",
    "?",
    "The ferry leaves the harbour at six every morning.",
    "Each day at six o'clock the boat departs from the port.",
    "Nobody has seen the lighthouse keeper since Tuesday.",
    "Does this train stop in the old town?",
    "Über den Dächern von Zürich kreisen Störche, naïve façades below.",
    "今日は図書館で本を読みました。",
    "오늘 아침에는 비가 왔다.",
    "Здравствуйте, сколько стоит этот билет?",
    "مرحبا بالعالم",
    "Good news 🎉 the bakery 👩‍🍳 opens again 🥐!",
    "[CLS] this text names [SEP] the separators [PAD] itself [MASK] [UNK]",
    "tabs\tand\nnew lines\r\nand\u00a0hard\u200bspaces",
    "ﬁne ½ cup of №5 … “quoted” — and ＦＵＬＬＷＩＤＴＨ",  # noqa: RUF001 - the odd letters are the test
    "x" * 120,
    "3.14159 kg/m² at -40 °C costs $1,299.99 (#42)!?",
    "Click-to-run, state-of-the-art, don't, won't, O'Neill's, e-mail@example.org",
    (
        "A small boat, painted green by the neighbour's children last summer, drifted slowly past"
        " the mill while the swallows dived under the bridge and the miller's dog, too lazy to"
        " bark, watched it go until the bend of the river hid it from sight."
    ),
    " ".join(f"In chapter {chapter} the explorers cross another valley." for chapter in range(60)),
)

PAIRS: tuple[tuple[str, str], ...] = (
    ("It is raining", "It is sunny"),
    (
        "I am taking the subway to Times Square.",
        "I am using public transport to reach midtown.",
    ),
    ("A cat is sleeping on the windowsill.", "An animal is resting."),
    ("A cat is sleeping on the windowsill.", "The cat dreams of mice."),
    ("A cat is sleeping on the windowsill.", "The windowsill is empty."),
    ("Two carpenters are repairing a wooden bridge.", "People are working outdoors."),
    ("The orchestra plays in an empty hall.", "Thousands of listeners applaud."),
    ("yes", "no"),
    ("a", "?"),
    ("Der Bäcker öffnet früh.", "The bakery is open in the morning."),
    ("猫が窓辺で寝ています。", "動物が休んでいます。"),
    ("A chef 👩‍🍳 bakes bread 🥖.", "Someone is cooking 🎉"),
    ("This premise contains [SEP] as text.", "[SEP] [CLS] [PAD]"),
    ("tabs\tand\nnew lines", "hard\u00a0spaces and “quotes” …"),
    ("x" * 120, "y" * 20),
    ("The bridge is 1,280 m long and opened in 1937.", "It is more than a kilometre long."),
    (
        (
            "The village choir, which had not sung in public since the flood, rehearsed every"
            " Thursday in the barn behind the school, with the doors wide open so that the"
            " neighbours could hear whether the tenors had finally learnt their part."
        ),
        "The choir practises once a week.",
    ),
    (
        "A gardener waters the roses.",
        " ".join(f"On day {day} the roses were watered again." for day in range(50)),
    ),
    (
        " ".join(f"Room {room} holds one large painting." for room in range(60)),
        " ".join(f"Visitor {visitor} looked at every painting." for visitor in range(60)),
    ),
)
