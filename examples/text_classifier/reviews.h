// The data that the program brings along: generated reviews of restaurants, praise and complaint. What others said, what
// was expected and what is denied stand in them beside what was found, in words of both kinds, so counting words does not
// tell which review it is: one has to see how the words belong together.
#pragma once

#include "examples/text_classifier/data.h"

namespace heed::examples::classifier {

// The same seed and count give the same reviews on every machine.
Corpus generate_reviews(std::uint64_t seed, std::int64_t count);

}  // namespace heed::examples::classifier
