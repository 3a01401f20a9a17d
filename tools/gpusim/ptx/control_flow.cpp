#include "tools/gpusim/ptx/control_flow.h"

#include <algorithm>

namespace gpusim::ptx {

namespace {

struct Flow {
  std::vector<int> targets;  // of a jump
  bool goes_on = true;       // some lanes may reach the next instruction
  bool leaves = false;
};

Flow flow_of(const Body& body, const Instruction& instruction) {
  Flow flow;
  const bool always = instruction.guard < 0;
  if (instruction.name == "bra") {
    flow.targets = {instruction.operands.at(0).index};
    flow.goes_on = !always;
  } else if (instruction.name == "brx") {
    const auto targets = body.branch_targets.find(instruction.operands.at(1).text);
    if (targets != body.branch_targets.end()) flow.targets = targets->second;
    flow.goes_on = !always;
  } else if (instruction.name == "ret" || instruction.name == "exit" || instruction.name == "trap") {
    flow.leaves = true;
    flow.goes_on = !always;
  }
  return flow;
}

// Cooper, Harvey and Kennedy, "A simple, fast dominance algorithm", on the reversed graph; the function's end is the
// root, node number blocks.size().
void find_post_dominators(std::vector<Block>& blocks) {
  const int end = static_cast<int>(blocks.size());
  std::vector<std::vector<int>> predecessors(end + 1);
  for (int b = 0; b < end; ++b) {
    for (const int s : blocks[b].successors) predecessors[s].push_back(b);
    if (blocks[b].ends || blocks[b].successors.empty()) predecessors[end].push_back(b);
  }
  // Depth-first from the end, without recursion: blocks can be many.
  std::vector<int> order, number(end + 1, -1);
  std::vector<std::pair<int, std::size_t>> stack = {{end, 0}};
  std::vector<bool> seen(end + 1);
  seen[end] = true;
  while (!stack.empty()) {
    auto& [node, next] = stack.back();
    if (next < predecessors[node].size()) {
      const int child = predecessors[node][next++];
      if (!seen[child]) {
        seen[child] = true;
        stack.emplace_back(child, 0);
      }
    } else {
      number[node] = static_cast<int>(order.size());
      order.push_back(node);
      stack.pop_back();
    }
  }
  std::vector<int> dominator(end + 1, -1);
  dominator[end] = end;
  const auto meet = [&](int a, int b) {
    while (a != b) {
      while (number[a] < number[b]) a = dominator[a];
      while (number[b] < number[a]) b = dominator[b];
    }
    return a;
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (auto node = order.rbegin() + 1; node < order.rend(); ++node) {
      int meeting = blocks[*node].ends || blocks[*node].successors.empty() ? end : -1;
      for (const int s : blocks[*node].successors) {
        if (dominator[s] >= 0) meeting = meeting < 0 ? s : meet(meeting, s);
      }
      if (meeting != dominator[*node]) {
        dominator[*node] = meeting;
        changed = true;
      }
    }
  }
  for (int b = 0; b < end; ++b) blocks[b].post_dominator = dominator[b] == end ? -1 : dominator[b];
}

}  // namespace

ControlFlow analyse(const Body& body) {
  const int count = static_cast<int>(body.instructions.size());
  std::vector<bool> begins(count + 1);
  begins[0] = true;
  for (int i = 0; i < count; ++i) {
    const Flow flow = flow_of(body, body.instructions[i]);
    for (const int target : flow.targets) begins[target] = true;
    if (!flow.targets.empty() || flow.leaves) begins[i + 1] = true;
  }
  ControlFlow result;
  result.block_of.resize(count + 1, -1);
  for (int i = 0; i < count; ++i) {
    if (begins[i]) {
      if (i > 0) result.blocks.back().last = i;
      result.blocks.emplace_back().first = i;
    }
    result.block_of[i] = static_cast<int>(result.blocks.size()) - 1;
  }
  if (count > 0) result.blocks.back().last = count;
  for (Block& block : result.blocks) {
    const Flow flow = flow_of(body, body.instructions[block.last - 1]);
    const auto add = [&](int instruction) {
      if (instruction == count) {
        block.ends = true;  // a label behind the last instruction, or no ret there
      } else {
        block.successors.push_back(result.block_of[instruction]);
      }
    };
    for (const int target : flow.targets) add(target);
    if (flow.goes_on) add(block.last);
    if (flow.leaves) block.ends = true;
  }
  find_post_dominators(result.blocks);
  return result;
}

}  // namespace gpusim::ptx
