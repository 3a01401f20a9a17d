// What kind of character is this? As Hugging Face's tokenizers library answers, whose tables date from Unicode 8 for
// categories, 13 for decompositions and 17 for lower case. utf8proc knows Unicode 15; where the two disagree, and there
// alone, the lists in the .cpp decide. tests/golden/make_tokenizer_golden.py compares every code point.
#pragma once

namespace heed::nn::unicode {

bool is_whitespace(char32_t c);         // White_Space
bool is_control(char32_t c);            // Cc, Cf, Co
bool is_punctuation(char32_t c);        // P, and all of ASCII that is no letter, digit, blank or control character
bool is_nonspacing_mark(char32_t c);    // Mn
bool is_chinese_character(char32_t c);  // BERT's blocks of ideographs
int combining_class(char32_t c);

inline constexpr int longest_decomposition = 4;
// The canonical decomposition, complete but not reordered: how many characters it wrote.
int decompose(char32_t c, char32_t* parts);
// One character, except that U+0130 becomes two ("i" and a dot above): how many it wrote, at most 2.
int lower_case(char32_t c, char32_t* lower);

}  // namespace heed::nn::unicode
