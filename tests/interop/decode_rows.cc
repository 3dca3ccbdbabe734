// A decoder as a file configures it, for others to compare with: `decode_rows PIPELINE.yaml [TABLE]` reads documents in
// hexadecimal digits, one a line, from stdin; the rows are appended to the Delta table too, if one is named. The first
// line of the answer on stdout is an Arrow stream of the rows, in such digits; each line that follows says of a
// document that was refused "index reason: detail".
#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <fmt/format.h>

#include <iostream>
#include <string>
#include <vector>

#include "config/load.h"
#include "delta/append.h"
#include "ingest/event_decoder.h"
#include "ingest/formats.h"
#include "objectstore/object_store.h"

namespace {

namespace ingest = millrace::ingest;

std::string FromHex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

millrace::Status AppendTo(const std::string& folder, const std::shared_ptr<arrow::RecordBatch>& rows) {
  ASSIGN_OR_RETURN(const auto store, millrace::objectstore::OpenStore(folder));
  ASSIGN_OR_RETURN(const auto table, millrace::delta::Table::OpenOrCreate(store, {.schema = rows->schema()}));
  return millrace::delta::Append(*table, {rows}).status();
}

millrace::Status Decode(const std::string& file, const char* table) {
  const auto loaded = millrace::config::LoadConfigFile(file);
  for (const auto& finding : loaded.findings) {
    return millrace::InvalidInput("{}", millrace::config::ToString(finding));
  }
  ASSIGN_OR_RETURN(const auto decoder, ingest::MakeDecoder(loaded.config.inputs.front().decode));
  std::vector<std::string> payloads;
  for (std::string line; std::getline(std::cin, line);) payloads.push_back(FromHex(line));
  std::vector<ingest::Document> documents;
  for (const std::string& payload : payloads) documents.push_back({.bytes = payload});
  ASSIGN_OR_RETURN(const auto decoded, decoder->Decode(documents));
  RETURN_NOT_OK(decoded.rows->ValidateFull());
  if (table != nullptr) RETURN_NOT_OK(AppendTo(table, decoded.rows));
  ASSIGN_OR_RETURN(const auto sink, arrow::io::BufferOutputStream::Create());
  ASSIGN_OR_RETURN(const auto writer, arrow::ipc::MakeStreamWriter(sink, decoded.rows->schema()));
  RETURN_NOT_OK(writer->WriteRecordBatch(*decoded.rows));
  RETURN_NOT_OK(writer->Close());
  ASSIGN_OR_RETURN(const auto buffer, sink->Finish());
  for (const char c : std::string_view(*buffer)) std::cout << fmt::format("{:02x}", static_cast<unsigned char>(c));
  std::cout << '\n';
  for (const auto& one : decoded.refused) std::cout << one.document << ' ' << one.reason << ": " << one.detail << '\n';
  return millrace::Status::OK();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) return 2;
  const millrace::Status status = Decode(argv[1], argc == 3 ? argv[2] : nullptr);
  if (!status.ok()) std::cerr << status.message() << '\n';
  return status.ok() ? 0 : 1;
}
