/// The schemas that records were written with, by the number that stands before each of them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"

namespace millrace::ingest {

/// Where a decoder that has a reader's schema finds those of the writers. Any thread: all decoders of a pipeline share
/// one.
class WriterSchemas {
 public:
  virtual ~WriterSchemas() = default;

  /// The text of the schema that `id` names; null: there is none, and records with it are dead letters. Always the same
  /// for one id. kTransient: it cannot be had now; the decoder hands this on, and its batch is to be decoded again
  /// later.
  virtual Result<std::shared_ptr<const std::string>> Find(std::uint64_t id) = 0;
};

}  // namespace millrace::ingest
