/// For the tests of this folder: Avro's encoding by hand, and decoders of schemas in text.
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ingest/decode_spec.h"
#include "ingest/writer_schemas.h"

namespace millrace::ingest::avro {

inline std::string Long(std::int64_t value) {
  std::string out;
  auto zigzag = static_cast<std::uint64_t>(value) << 1 ^ static_cast<std::uint64_t>(value >> 63);
  for (; zigzag > 0x7F; zigzag >>= 7) out += static_cast<char>(0x80 | (zigzag & 0x7F));
  return out + static_cast<char>(zigzag);
}

inline std::string Text(std::string_view text) { return Long(static_cast<std::int64_t>(text.size())).append(text); }

template <typename T>
std::string Raw(T value) {
  std::string out(sizeof(T), '\0');
  std::memcpy(out.data(), &value, sizeof(T));
  return out;
}

/// {"type": "record", "name": "R", "fields": [`fields`]}
inline std::string Record(std::string_view fields) {
  return std::string(R"({"type":"record","name":"R","fields":[)").append(fields).append("]}");
}

inline SchemaSpec SchemaOf(std::string text) {
  return {.file = "a.avsc", .bytes = std::make_shared<const std::string>(std::move(text))};
}

inline DecodeSpec SpecOf(std::string schema, std::vector<ColumnSpec> columns = {}) {
  return {.format = "avro", .columns = std::move(columns), .schema = SchemaOf(std::move(schema))};
}

/// Schemas by id, as a registry has them.
class KnownSchemas final : public WriterSchemas {
 public:
  std::map<std::uint64_t, std::string> texts;
  bool is_down = false;
  int asked = 0;

  Result<std::shared_ptr<const WriterSchema>> Find(std::uint64_t id) override {
    ++asked;
    if (is_down) return Transient("the registry is down");
    const auto found = texts.find(id);
    if (found == texts.end()) return nullptr;
    return std::make_shared<const WriterSchema>(WriterSchema{.text = found->second});
  }
  std::uint64_t answers() const override { return 0; }
};

}  // namespace millrace::ingest::avro
