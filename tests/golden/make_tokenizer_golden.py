"""Writes tokenizer_vocabulary.txt and tokenizer.json: what Hugging Face's tokenizers library makes of difficult texts.

usage: make_tokenizer_golden.py FOLDER    (FOLDER holds the tokenizer.json of an uncased BERT, such as all-MiniLM-L6-v2)

Needs the package tokenizers (0.23 made the files). The vocabulary is the part of FOLDER's that the texts use, and every
other one of the characters they hold.
"""

import json
import pathlib
import random
import sys

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# lowercase, strip_accents (None: as lowercase), clean_text, handle_chinese_chars
CONFIGURATIONS = [(True, None, True, True), (False, None, True, True), (False, True, True, True),
                  (True, False, True, False), (True, None, False, True)]

HAND_MADE = [
    "", " ", "   ", "\n", "a", "A", "Hello, world!", "hello  world ", "\thello\nworld\r\n", "don't won't it's I'm we've",
    "naïve café", "cafe\u0301", "CAFÉ", "e\u0301\u0316", "\u00e9\u0316", "\u1e69", "s\u0323\u0307", "s\u0307\u0323",
    "Ångström", "\u212bngström", "İstanbul", "ISTANBUL ıI", "ΑΣ ΣΑΣ", "Straße STRASSE ẞ", "ﬁ ﬂ ﬃ", "Ǆ ǅ ǆ",
    "中文", "中文 text中", "我爱北京天安门", "日本語のテキスト", "カタカナ ｶﾀｶﾅ", "한국어 텍스트", "\u1112\u1161\u11ab", "豈更", "\U00020000\U0002a6d6",
    "\U0002b820", "ไทย ภาษา", "हिन्दी भाषा", "தமிழ்", "বাংলা", "עברית שלום", "שָׁלוֹם", "العربية", "مَرْحَبًا", "فارسی", "ქართული", "Ქართული",
    "Привет, мир!", "ЁЖ ёж й и\u0306", "Ελληνικά ἄνθρωπος ᾧ", "Tiếng Việt: những", "Łódź Żółć", "čšž ČŠŽ", "ñandú Ñ", "øre Øre đ Đ",
    "😀", "👩‍👩‍👧‍👦 family", "👍🏽", "🇩🇪 flag", "a😀b", "♥ ♥\ufe0f", "→ ← ↑", "½ ¼ ² ³ №", "① ② ⑩", "Ⅷ ⅷ", "℃ ℉ Ω", "𝕳𝖊𝖑𝖑𝖔", "ｆｕｌｌｗｉｄｔｈ",
    "\u00a0non\u00a0breaking\u00a0", "zero\u200bwidth", "zero\u200djoin", "\ufeffbom", "soft\u00adhyphen", "\u2028line\u2029para",
    "en–dash em—dash", "“quotes” ‘single’ «guillemets»", "ellipsis… ...", "¿qué? ¡sí!", "a_b-c+d=e", "1,234.56", "$5 £5 €5 ¥5", "50%",
    "C++ C#", "http://example.com/a?b=c&d=e#f", "user@example.com", "#hashtag @mention", "`code`", "~tilde~ ^caret^", "{a}[b](c)<d>",
    "[CLS]", "[SEP] hello [MASK]", "[cls]", "[MASK][MASK]", "a[MASK]b", "[ MASK ]", "[[CLS]]", "[UNK]", "[PAD]pad[PAD]", "[MASK", "MASK]",
    "##ing", "un##able", "##", "# # #", "\\n \\t", "a\x00b", "a\x01b\x7fc", "a\x0bb\x0cc", "a\x85b", "\ufffd", "a\ufffdb", "\ue000private", "\U000f0000",
    "\u0300", "\u0300\u0301a", "a\u0300" * 5, "\u0344", "a\u0344b", "\u302e\u302f", "가\u302e", "\U0001d15e\U0001d165", "\u1734", "ᜀ\u1734", "\u0898a", "\u166d",
    "\u2e52 \u2e43", "\U000111c9", "\u0bcd", "\u0e33", "\u0f73", "ṩ", "ǻ", "ᾂ", "\u1fed", "\u2126", "\u2000\u2001", "\u3000x\u3000",
    "a" * 99, "a" * 100, "a" * 101, "é" * 100, "é" * 101, "e\u0301" * 100, "中" * 101, "x" * 300, "ab " * 50,
    "supercalifragilisticexpialidocious", "pneumonoultramicroscopicsilicovolcanoconiosis", "Donaudampfschifffahrtsgesellschaft",
    "unaffable unhappiness", "tokenization tokenizers", "qqqqq zzzzz", "☃☃☃", "ℵ₀", "ʻokina", "O’Reilly", "rock 'n' roll", "re-imagining of 1930s",
    "mother 's \" fear \" of -lrb- n't", "a\u0301\u0302\u0303b", "\u0915\u093c", "\u0958", "\u0f43", "\u09dc", "\u0b5c", "\u2adc", "\ufb1d", "\ufb4e",
    "i\u0307", "I\u0307", "\u0130\u0307", "ſ", "K", "ﬀ", "\u1e9e", "\u03f4", "\u2c6f", "\u1c89", "\ua7cb", "\U00010d50", "\U00016ea0", "\U00010400",
]
BYTES = [b"\xff", b"a\xffb", b"sister\xcdcity", b"\xe2\x82", b"\xe2\x82\xacok\xe2", b"\xed\xa0\x80x", b"\xf4\x90\x80\x80", b"\xc0\xafx", b"x\xf0\x9f\x98",
         b"\x80\x81\x82 y", b"caf\xe9 cr\xe8me", b"[CLS\xff] [MASK]\xff"]
POOLS = [range(32, 127), range(0xC0, 0x250), range(0x300, 0x370), range(0x370, 0x590), range(0x590, 0x700),
         range(0x900, 0xA00), range(0x1E00, 0x2000), range(0x2000, 0x2100), range(0x3040, 0x3100), range(0x4E00, 0x4E40),
         range(0xAC00, 0xAC40), range(0xF900, 0xFA40), range(0x1F600, 0x1F640)]


def random_texts(count):
    draw = random.Random(6)
    texts = []
    for _ in range(count):
        pools = draw.sample(POOLS, 2) + [POOLS[0]]
        texts.append("".join(chr(draw.choice(draw.choice(pools))) for _ in range(draw.randrange(1, 16))))
    return texts


def tokenizer(vocabulary, configuration):
    lowercase, strip_accents, clean_text, chinese = configuration
    made = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer(clean_text=clean_text, handle_chinese_chars=chinese,
                                                 strip_accents=strip_accents, lowercase=lowercase)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")])
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    return made


def plain(encoding):
    return {"ids": encoding.ids, "offsets": [list(pair) for pair in encoding.offsets]}


def main():
    here = pathlib.Path(__file__).parent
    whole = json.loads((pathlib.Path(sys.argv[1]) / "tokenizer.json").read_text())["model"]["vocab"]
    texts = [text.encode() for text in HAND_MADE + random_texts(120)] + BYTES
    read = [text.decode("utf-8", "replace") for text in texts]
    used = set(SPECIAL) | {"##" + c for c in "abcdefghijklmnopqrstuvwxyz"}
    for configuration in CONFIGURATIONS:
        used.update(token for text in read for token in tokenizer(whole, configuration).encode(text).tokens)
    names = sorted(used, key=whole.__getitem__)
    characters = sorted({c for text in read for configuration in CONFIGURATIONS
                         for c in tokenizer(whole, configuration).normalizer.normalize_str(text) if not c.isspace()})
    names += [name for c in characters[::2] for name in (c, "##" + c) if name not in used]
    vocabulary = {name: i for i, name in enumerate(names)}
    (here / "tokenizer_vocabulary.txt").write_text("".join(name + "\n" for name in names), encoding="utf-8")

    golden = {"texts": [text.hex() for text in texts], "configurations": [], "pairs": [], "decoded": []}
    for configuration in CONFIGURATIONS:
        made = tokenizer(vocabulary, configuration)
        lowercase, strip_accents, clean_text, chinese = configuration
        golden["configurations"].append({
            "lowercase": lowercase, "strip_accents": strip_accents, "clean_text": clean_text,
            "handle_chinese_chars": chinese, "encodings": [plain(made.encode(text)) for text in read]})
    made = tokenizer(vocabulary, CONFIGURATIONS[0])
    for text in ["Hello, world!", "don't, it's I'm we've: do not. [MASK] n't !", "naïve café", "tokenization 's ' x ' y", "unaffable"]:
        ids = made.encode(text).ids
        golden["decoded"].append({"ids": ids, "skipped": made.decode(ids), "all": made.decode(ids, skip_special_tokens=False)})
    for limit in (3, 4, 5, 7, 8, 12, 20):
        made.enable_truncation(limit)
        for first, second in [("a b c d e f", "g h"), ("a b", "c d e f g h i"), ("a b c d e f g", "h i j k l m n"), ("", "a b"), ("a", "")]:
            encoding = made.encode(first, second)
            golden["pairs"].append({"limit": limit, "first": first, "second": second, "type_ids": encoding.type_ids, **plain(encoding)})
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in golden.items())
    (here / "tokenizer.json").write_text("{\n" + lines + "\n}\n")
    print(len(texts), "texts,", len(names), "tokens")


if __name__ == "__main__":
    main()
