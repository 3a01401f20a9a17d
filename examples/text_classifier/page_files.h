// The files that make up the page of an explanation, as they were when the program was built.
#pragma once

#include <string_view>

namespace heed::examples::classifier {

extern const std::string_view explanation_html;  // the page, with places {{title}}, {{style}}, {{data}}, {{script}}
extern const std::string_view explanation_css;
extern const std::string_view explanation_js;  // draws the page from {{data}}

}  // namespace heed::examples::classifier
