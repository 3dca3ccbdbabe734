/// How records of one schema are read: the declared one, or a writer's that is another.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "ingest/protobuf/message_indexes_internal.h"
#include "ingest/protobuf/plan_internal.h"
#include "ingest/protobuf/schema_internal.h"
#include "ingest/writer_schemas.h"

namespace millrace::ingest::protobuf {

struct Reading {
  std::shared_ptr<const Schema> reader;  ///< Both own descriptors.
  std::shared_ptr<const Schema> writer;  ///< Null: it is the reader.
  MessageIndexes indexes;                ///< Of the writer's message.
  Plan plan;

  MessagePlan& root() { return plan.messages.front(); }
};

/// Of records that were written by `written`, which messages call `name`, and are read as `message` of `reader`. What
/// its fields declare is added to spec.declared. kInvalidInput: it is no Protobuf, has no such message, or cannot be
/// read as that.
Result<std::unique_ptr<Reading>> MakeReading(const std::string& name, const WriterSchema& written,
                                             std::shared_ptr<const Schema> reader,
                                             const google::protobuf::Descriptor& message, const DecodeSpec& spec);

}  // namespace millrace::ingest::protobuf
