// Any text is a schema or is refused; of a schema the canonical form is one too, with the same fingerprint.
//
// libFuzzer under Clang (-fsanitize=fuzzer); elsewhere fuzz/replay_main.cc runs the corpus.
#include <cstdint>
#include <string>
#include <string_view>

#include "ingest/avro/avro_decoder.h"
#include "ingest/avro/schema.h"
#include "ingest/formats.h"
#include "require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace avro = millrace::ingest::avro;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto schema = avro::ParseSchema(text);
  if (!schema.ok()) {
    Require(!schema.status().message().empty());
    return 0;
  }
  const std::string canonical = avro::CanonicalForm(**schema);
  const auto again = avro::ParseSchema(canonical);
  Require(again.ok() && avro::CanonicalForm(**again) == canonical);
  millrace::ingest::DecodeSpec spec{.format = "avro"};
  spec.schema = {.file = "fuzz.avsc", .bytes = std::make_shared<const std::string>(text)};
  auto columns = millrace::ingest::ColumnsOfAvroSchema(spec);
  if (columns.ok() && columns->size() < 1000) {
    spec.columns = *std::move(columns);
    const auto made = millrace::ingest::MakeAvroDecoder(spec);
    Require(made.ok());
  }
  return 0;
}
