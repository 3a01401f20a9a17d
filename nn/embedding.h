#pragma once

#include "engine/ops.h"
#include "nn/init.h"
#include "nn/module.h"

namespace heed::nn {

// A table of vectors: integers [...] in [0, num_embeddings) to [..., embedding_dim]. The row padding_idx starts as
// zeros and gets no gradient. With `sparse`, optimisers update the rows that a step used and leave the others, with their
// moments and weight decay, alone: for tables too large to be walked through in every step.
class Embedding : public Module {
 public:
  Embedding(std::int64_t num_embeddings, std::int64_t embedding_dim, std::optional<std::int64_t> padding_idx = {},
            bool sparse = false)
      : weight(empty({num_embeddings, embedding_dim})), padding_idx_(padding_idx), sparse_(sparse) {
    check(!padding_idx || (0 <= *padding_idx && *padding_idx < num_embeddings),
          "Embedding: padding_idx {} of {} embeddings", padding_idx.value_or(0), num_embeddings);
    register_parameter("weight", weight);
    init::normal(weight);
    if (padding_idx) init::constant(weight.detach().select(0, *padding_idx), 0);
  }

  Tensor operator()(const Tensor& index) const { return embedding(weight, index, padding_idx_, sparse_); }

  Tensor weight;  // [num_embeddings, embedding_dim]

 private:
  std::optional<std::int64_t> padding_idx_;
  bool sparse_;
};

}  // namespace heed::nn
