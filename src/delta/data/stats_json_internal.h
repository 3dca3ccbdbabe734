/// The statistics of a file as JSON objects, whatever numbers are in them.
#pragma once

#include <simdjson.h>

#include <optional>
#include <string>

namespace millrace::delta {

/// AddFile::stats, valid until `parser` parses again; nullopt: not a JSON object. simdjson refuses a whole document for
/// one number beyond 64 bits, such as the sum of a DECIMAL(38,0): here that number alone is null, as if the writer had
/// left it out.
std::optional<simdjson::dom::object> ParseStats(const std::string& stats, simdjson::dom::parser& parser);

}  // namespace millrace::delta
