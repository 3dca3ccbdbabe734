/// Confluent's framing, before documents whose decoder has no use for the writer's schema: JSON.
///
/// | reason      | the record                            |
/// |-------------|---------------------------------------|
/// | bad_framing | does not begin as the framing does    |
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "ingest/decoder.h"

namespace millrace::ingest {

/// The schema's id of a payload that begins with a zero byte and has room for an id. Nullopt: it has not.
std::optional<std::uint32_t> ConfluentId(std::string_view payload);

/// `inner` gets the documents without what stands before them. The schema's id is not looked at.
std::unique_ptr<Decoder> MakeFramedDecoder(std::unique_ptr<Decoder> inner);

}  // namespace millrace::ingest
