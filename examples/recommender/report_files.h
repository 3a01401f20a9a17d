// The files that make up the page of a report, as they were when the program was built.
#pragma once

#include <string_view>

namespace heed::examples::recommender {

extern const std::string_view
    report_html;  // the page, with places {{title}}, {{style}}, {{data}}, {{library}}, {{script}}
extern const std::string_view report_css;
extern const std::string_view report_js;     // draws the page from {{data}}
extern const std::string_view chart_min_js;  // Chart.js, which draws the curves

}  // namespace heed::examples::recommender
