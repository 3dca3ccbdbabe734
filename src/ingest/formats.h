/// The formats that events can have. A new one is a folder with its decoder and a row in formats.cc.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"
#include "ingest/decode_spec.h"
#include "ingest/decoder.h"

namespace millrace::ingest {

struct Format {
  std::string_view name;  ///< DecodeSpec::format.
  /// kInvalidInput: columns that this format cannot have. Their names are checked already.
  Result<std::unique_ptr<Decoder>> (*make_decoder)(const DecodeSpec& spec);
};

std::span<const Format> Formats();

/// kInvalidInput: a format that there is not, more than 10,000 columns, a name that is empty or taken, or what the
/// format says.
Result<std::unique_ptr<Decoder>> MakeDecoder(const DecodeSpec& spec);

}  // namespace millrace::ingest
