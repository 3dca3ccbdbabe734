/// What a payload that is no JSON looks like, for the message about it.
#pragma once

#include <string>
#include <string_view>

namespace millrace::ingest {

/// "gzip", "Confluent's schema registry framing (schema id 7)", ...: by the payload's first bytes, which may deceive.
/// Empty: nothing that is known.
std::string FormOfPayload(std::string_view payload);

}  // namespace millrace::ingest
