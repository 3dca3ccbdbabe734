/// What Confluent's serializers write before a Protobuf message.
///
/// A zero byte; the schema's id, 4 bytes, high ones first; which message of the schema's file it is: the number of
/// indexes and the indexes, each a zigzag varint, of the message in the file, then of those within it. A single zero
/// stands for [0], the file's first message.
#pragma once

#include <google/protobuf/descriptor.h>

#include <string_view>
#include <vector>

#include "ingest/protobuf/wire.h"

namespace millrace::ingest::protobuf {

class MessageIndexes {
 public:
  /// The record's messages must be `message`, of its file.
  explicit MessageIndexes(const google::protobuf::Descriptor& message);

  /// The bytes of the message behind the framing. The id is not looked at: the schema is known. False after Fail():
  /// bad_framing, or wrong_message, which names the message that it saw.
  bool ReadFraming(WireReader& reader, std::string_view payload, std::string_view* body) const;

 private:
  bool FailMessage(WireReader& reader, const char* at, const std::vector<int>& indexes) const;

  const google::protobuf::Descriptor* message_;
  std::vector<int> expected_;
};

}  // namespace millrace::ingest::protobuf
