// Our Avro decoder for others to compare with. A line on stdin is JSON {"reader": schema, "writer": schema,
// "unknown_fields": "ignore" or "rescue", "columns": [[name, [path], type], ...], "payloads": [hex, ...]}; the answer
// on stdout is {"rows": an Arrow stream in hex, "refused": {"index": "reason: detail"}} or {"error": text}. Payloads
// are framed here, as records of schema id 1.
#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <fmt/format.h>

#include <boost/json.hpp>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "ingest/formats.h"
#include "ingest/writer_schemas.h"

namespace {

namespace ingest = millrace::ingest;
namespace json = boost::json;

class OneSchema final : public ingest::WriterSchemas {
 public:
  explicit OneSchema(std::string text)
      : schema_(std::make_shared<const ingest::WriterSchema>(ingest::WriterSchema{.text = std::move(text)})) {}
  millrace::Result<std::shared_ptr<const ingest::WriterSchema>> Find(std::uint64_t) override { return schema_; }
  std::uint64_t answers() const override { return 0; }

 private:
  const std::shared_ptr<const ingest::WriterSchema> schema_;
};

std::string Text(const json::value& value) { return std::string(value.as_string()); }

std::shared_ptr<arrow::DataType> TypeOf(const std::string& name) {
  int precision = 0;
  int scale = 0;
  if (std::sscanf(name.c_str(), "decimal(%d,%d)", &precision, &scale) == 2) return arrow::decimal128(precision, scale);
  if (name.starts_with("list<")) return arrow::list(arrow::field("element", TypeOf(name.substr(5, name.size() - 6))));
  if (name == "bool") return arrow::boolean();
  if (name == "int32") return arrow::int32();
  if (name == "int64") return arrow::int64();
  if (name == "double") return arrow::float64();
  if (name == "date") return arrow::date32();
  if (name == "timestamp") return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
  return arrow::utf8();
}

std::string FromHex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

millrace::Result<std::string> Decode(const json::object& question) {
  ingest::DecodeSpec spec{.format = "avro", .framing = ingest::Framing::kConfluent};
  spec.schema = {.file = "reader.avsc", .bytes = std::make_shared<const std::string>(Text(question.at("reader")))};
  spec.writer_schemas = std::make_shared<OneSchema>(Text(question.at("writer")));
  if (question.at("unknown_fields") == "rescue") spec.unknown_fields = ingest::UnknownFields::kRescue;
  for (const json::value& column : question.at("columns").as_array()) {
    auto& added = spec.columns.emplace_back();
    added.name = Text(column.at(0));
    for (const json::value& part : column.at(1).as_array()) added.path.push_back(Text(part));
    added.type = TypeOf(Text(column.at(2)));
  }
  ASSIGN_OR_RETURN(const auto decoder, ingest::MakeDecoder(spec));
  std::vector<std::string> payloads;
  for (const json::value& hex : question.at("payloads").as_array()) {
    payloads.push_back(std::string("\0\0\0\0\1", 5) + FromHex(Text(hex)));
  }
  std::vector<ingest::Document> documents;
  for (const std::string& payload : payloads) documents.push_back({.bytes = payload});
  ASSIGN_OR_RETURN(const auto decoded, decoder->Decode(documents));
  RETURN_NOT_OK(decoded.rows->ValidateFull());
  json::object refused;
  for (const auto& one : decoded.refused) refused[std::to_string(one.document)] = one.reason + ": " + one.detail;
  ASSIGN_OR_RETURN(const auto sink, arrow::io::BufferOutputStream::Create());
  ASSIGN_OR_RETURN(const auto writer, arrow::ipc::MakeStreamWriter(sink, decoded.rows->schema()));
  RETURN_NOT_OK(writer->WriteRecordBatch(*decoded.rows));
  RETURN_NOT_OK(writer->Close());
  ASSIGN_OR_RETURN(const auto buffer, sink->Finish());
  std::string hex;
  for (const char c : std::string_view(*buffer)) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return json::serialize(json::object{{"rows", hex}, {"refused", refused}});
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const auto answer = Decode(json::parse(line).as_object());
    std::cout << (answer.ok() ? *answer : json::serialize(json::object{{"error", answer.status().message()}})) << "\n";
  }
  return 0;
}
