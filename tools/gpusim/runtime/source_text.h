// Lines of source files, for messages that point at them.
#pragma once

#include <string>

namespace gpusim {

// Line `line` (from 1) of the file, without the spaces around it; empty when it cannot be read.
std::string line_of_file(const std::string& file, int line);

// "kernels/softmax.cu:41: y[i] = x[i];", the name relative to the working folder where it lies below it.
std::string source_line(const std::string& file, int line);

}  // namespace gpusim
