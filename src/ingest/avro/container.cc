#include "ingest/avro/container.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <utility>

#include "ingest/avro/schema.h"
#include "ingest/avro/value_text_internal.h"
#include "ingest/avro/wire_internal.h"
#include "ingest/event_decoder.h"
#include "ingest/payload_form.h"
#include "ingest/records/unpacker.h"

namespace millrace::ingest {
namespace avro {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kMagic = "Obj\x01"sv;
constexpr std::size_t kSyncBytes = 16;
constexpr std::size_t kChecksumBytes = 4;                            // Behind each block of Snappy.
constexpr std::size_t kSchemaTextsBytesMax = std::size_t{16} << 20;  // That are remembered.
constexpr std::string_view kLetterSync = "millrace-letter\0"sv;      // Of files that we write; any bytes will do.
static_assert(kLetterSync.size() == kSyncBytes);

struct Codec {
  std::string_view name;
  std::optional<Packing> packing;
};
constexpr std::array kCodecs = {
    Codec{"null", std::nullopt},
    Codec{"deflate", Packing::kDeflate},
    Codec{"snappy", Packing::kSnappy},
    Codec{"zstandard", Packing::kZstd},
};

std::string_view BytesAsText(Bytes p, std::int64_t size) {
  return {reinterpret_cast<const char*>(p), static_cast<std::size_t>(size)};
}

class ContainerSplitter final : public Splitter {
 public:
  std::optional<RecordProblem> Split(std::string_view payload, std::vector<Document>* documents) override {
    if (payload.empty()) return RecordProblem{"empty_payload", "the payload is empty"};
    const std::size_t before = documents->size();
    auto problem = Read(payload, documents);
    if (problem) documents->resize(before);
    return problem;
  }

  std::string LetterOf(const Document& document) const override {
    std::string letter(kMagic);
    AppendLong(2, letter);
    AppendSized("avro.codec", letter);
    AppendSized("null", letter);
    AppendSized("avro.schema", letter);
    AppendSized(*document.writer_schema, letter);
    AppendLong(0, letter);
    letter += kLetterSync;
    AppendLong(1, letter);
    AppendSized(document.bytes, letter);
    letter += kLetterSync;
    return letter;
  }

  std::optional<RecordProblem> TakeLetter(std::string_view letter, std::vector<Document>* documents) override {
    const std::size_t before = documents->size();
    if (auto problem = Split(letter, documents)) return problem;
    const std::size_t count = documents->size() - before;
    if (count == 1) return std::nullopt;
    documents->resize(before);
    return Bad(fmt::format("a dead letter of one value holds {}", count));
  }

  void Clear() override {
    unpacker_.Clear();
    used_.clear();
  }
  std::size_t held_bytes() const override { return unpacker_.held_bytes(); }

 private:
  struct KnownSchema {
    std::string text;
    SchemaPtr schema;
  };
  struct Header {
    std::string_view schema;
    std::string_view codec = "null";
    std::string_view sync;
  };

  static RecordProblem Bad(std::string detail) { return {"bad_container", std::move(detail)}; }
  RecordProblem Failure() { return Bad(wire_.TakeFailure().problem); }

  std::optional<RecordProblem> Read(std::string_view payload, std::vector<Document>* documents) {
    if (!payload.starts_with(kMagic)) {
      const std::string form = FormOfPayload(payload);
      return Bad(fmt::format("it does not begin with 'Obj' and 1{}", form.empty() ? "" : "; it looks like " + form));
    }
    const auto begin = reinterpret_cast<Bytes>(payload.data());
    wire_.Begin(begin, begin + payload.size(), 0);
    Header header;
    Bytes p = ReadHeader(begin + kMagic.size(), &header);
    if (p == nullptr) return Failure();
    const auto* const codec =
        std::find_if(kCodecs.begin(), kCodecs.end(), [&](const Codec& one) { return one.name == header.codec; });
    if (codec == kCodecs.end()) {
      return Bad(fmt::format("its codec '{}' is none of null, deflate, snappy, zstandard", header.codec.substr(0, 60)));
    }
    const auto known = Known(header.schema);
    if (!known.ok()) return Bad(fmt::format("its schema: {}", known.status().message()));
    std::size_t unpacked_bytes = 0;
    for (std::size_t total = 0; p != wire_.end();) {
      std::int64_t count = 0;
      std::int64_t size = 0;
      const Bytes block = p;
      p = wire_.Long(p, &count);
      if (p != nullptr) p = wire_.Length(p, &size);
      if (p == nullptr) return Failure();
      std::string_view data = BytesAsText(p, size);
      p += size;
      if (wire_.left(p) < static_cast<std::int64_t>(kSyncBytes) || BytesAsText(p, kSyncBytes) != header.sync) {
        return Bad(fmt::format("the block at byte {} does not end with the file's sync marker", block - begin));
      }
      p += kSyncBytes;
      if (count < 0) return Bad(fmt::format("the block at byte {} has {} values", block - begin, count));
      if (static_cast<std::uint64_t>(count) > kMaxDocuments - total) return TooManyDocuments();
      total += static_cast<std::size_t>(count);
      if (codec->packing) {
        if (auto problem = Unpack(*codec->packing, kMaxPayloadBytes - unpacked_bytes, &data)) {
          problem->detail = fmt::format("the block at byte {}: {}", block - begin, problem->detail);
          if (problem->reason != "too_large") problem->reason = "bad_container";
          return problem;
        }
        unpacked_bytes += data.size();
      }
      if (auto problem = ReadBlock(**known, count, data, documents)) {
        problem->detail = fmt::format("the block at byte {}: {}", block - begin, problem->detail);
        return problem;
      }
    }
    return std::nullopt;
  }

  // A map of texts to bytes, and the sync marker; nullptr: see wire_.
  Bytes ReadHeader(Bytes p, Header* header) {
    for (;;) {
      std::int64_t count = 0;
      std::int64_t size = 0;
      p = wire_.Long(p, &count);
      // Of a negative count of entries the size in bytes follows.
      if (p != nullptr && count < 0) p = wire_.Long(p, &size);
      if (p == nullptr || count == 0) break;
      const std::uint64_t entries =
          count < 0 ? 0 - static_cast<std::uint64_t>(count) : static_cast<std::uint64_t>(count);
      for (std::uint64_t i = 0; i < entries && p != nullptr; ++i) {
        std::int64_t key_size = 0;
        std::int64_t value_size = 0;
        const Bytes key = wire_.Length(p, &key_size);
        const Bytes value = key == nullptr ? nullptr : wire_.Length(key + key_size, &value_size);
        if (value == nullptr) return nullptr;
        p = value + value_size;
        if (BytesAsText(key, key_size) == "avro.schema") header->schema = BytesAsText(value, value_size);
        if (BytesAsText(key, key_size) == "avro.codec") header->codec = BytesAsText(value, value_size);
      }
    }
    const Bytes behind = p == nullptr ? nullptr : wire_.Fixed(p, kSyncBytes);
    if (behind != nullptr) header->sync = BytesAsText(p, kSyncBytes);
    return behind;
  }

  // The pointer lives until Clear().
  Result<const KnownSchema*> Known(std::string_view text) {
    auto found = schemas_.find(text);
    if (found == schemas_.end()) {
      ASSIGN_OR_RETURN(auto schema, ParseSchema(text));
      if (schema_bytes_ + text.size() > kSchemaTextsBytesMax) {
        schemas_.clear();
        schema_bytes_ = 0;
      }
      schema_bytes_ += text.size();
      auto known = std::make_shared<const KnownSchema>(KnownSchema{std::string(text), std::move(schema)});
      const std::string_view key = known->text;
      found = schemas_.emplace(key, std::move(known)).first;
    }
    if (used_.empty() || used_.back() != found->second) used_.push_back(found->second);
    return found->second.get();
  }

  std::optional<RecordProblem> Unpack(Packing packing, std::size_t bytes_max, std::string_view* data) {
    if (packing != Packing::kSnappy) return unpacker_.Unpack(packing, *data, bytes_max, data);
    if (data->size() < kChecksumBytes) return Bad("it is cut off");
    const std::string_view checksum = data->substr(data->size() - kChecksumBytes);
    data->remove_suffix(kChecksumBytes);
    if (auto problem = unpacker_.Unpack(packing, *data, bytes_max, data)) return problem;
    std::uint32_t expected = 0;
    for (const char c : checksum) expected = expected << 8 | static_cast<unsigned char>(c);
    const auto found = crc32(0, reinterpret_cast<const Bytef*>(data->data()), static_cast<uInt>(data->size()));
    if (found != expected) return Bad("its checksum is another");
    return std::nullopt;
  }

  std::optional<RecordProblem> ReadBlock(const KnownSchema& known, std::int64_t count, std::string_view data,
                                         std::vector<Document>* documents) {
    // A place to point at, also of a block without bytes.
    if (data.empty()) data = "";
    const auto begin = reinterpret_cast<Bytes>(data.data());
    block_.Begin(begin, begin + data.size(), 0);
    Bytes p = begin;
    for (std::int64_t i = 0; i < count; ++i) {
      const Bytes behind = SkipValue(block_, *known.schema, p);
      if (behind == nullptr) return Bad(fmt::format("value {}: {}", i, block_.TakeFailure().problem));
      documents->push_back({.bytes = BytesAsText(p, behind - p), .writer_schema = &known.text});
      p = behind;
    }
    if (p != block_.end()) return Bad(fmt::format("{} bytes are left behind its {} values", block_.left(p), count));
    return std::nullopt;
  }

  Wire wire_;
  Wire block_;
  Unpacker unpacker_;
  std::map<std::string_view, std::shared_ptr<const KnownSchema>, std::less<>> schemas_;  // By their texts.
  std::size_t schema_bytes_ = 0;
  std::vector<std::shared_ptr<const KnownSchema>> used_;  // Since Clear().
};

}  // namespace
}  // namespace avro

std::unique_ptr<Splitter> MakeAvroContainerSplitter(const DecodeSpec&) {
  return std::make_unique<avro::ContainerSplitter>();
}

}  // namespace millrace::ingest
