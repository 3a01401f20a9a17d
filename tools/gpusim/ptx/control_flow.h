// Basic blocks of a function and where paths that part meet again.
#pragma once

#include <vector>

#include "tools/gpusim/ptx/syntax.h"

namespace gpusim::ptx {

struct Block {
  int first = 0, last = 0;  // instructions [first, last)
  std::vector<int> successors;
  bool ends = false;  // some lanes may leave the function here
  // The first block that every path from the end of this one to the function's end goes through: where diverged lanes
  // reconverge. -1: they do not before they leave.
  int post_dominator = -1;
};

struct ControlFlow {
  std::vector<Block> blocks;  // in the order of the text
  std::vector<int> block_of;  // instruction -> block
};

ControlFlow analyse(const Body& body);

}  // namespace gpusim::ptx
