// Whatever a registry answers is a schema or is refused, and a schema of it is columns or is refused.
//
// libFuzzer under Clang (-fsanitize=fuzzer); elsewhere fuzz/replay_main.cc runs the corpus.
#include <cstdint>
#include <memory>
#include <string>

#include "ingest/formats.h"
#include "registry/registry_answer_internal.h"
#include "require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace ingest = millrace::ingest;
  const std::string body(reinterpret_cast<const char*>(data), size);
  Require(millrace::registry::ParseProblem(body).message.size() <= 204);
  const auto answer = millrace::registry::ParseAnswer(body);
  if (!answer.ok()) {
    Require(millrace::KindOf(answer.status()) == millrace::ErrorKind::kTransient);
    return 0;
  }
  const auto language = millrace::registry::LanguageOf(answer->type);
  if (!language || *language == ingest::SchemaLanguage::kJson) return 0;
  ingest::DecodeSpec spec{.format = *language == ingest::SchemaLanguage::kAvro ? "avro" : "protobuf"};
  spec.schema = {.file = "subject fuzz, version 1",
                 .bytes = std::make_shared<const std::string>(answer->schema),
                 .is_registered = true};
  for (const auto& reference : answer->references) spec.schema->references.push_back({reference.name, answer->schema});
  const auto columns = ingest::FindFormat(spec.format)->columns_of_schema(spec);
  Require(columns.ok() || !columns.status().message().empty());
  return 0;
}
