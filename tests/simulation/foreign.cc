#include "foreign.h"

#include <arrow/array.h>
#include <arrow/array/util.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <arrow/util/bit_util.h>

#include <algorithm>
#include <boost/crc.hpp>
#include <limits>
#include <set>
#include <string>
#include <utility>

#include "base/uuid.h"
#include "delta/data/data_file.h"
#include "delta/data/deletion_vector.h"
#include "delta/log/action_json.h"
#include "delta/log/log_listing.h"
#include "delta/table.h"
#include "delta/upkeep/compaction.h"
#include "delta/upkeep/vacuum.h"
#include "machine.h"
#include "task_internal.h"

namespace millrace::simulation {
namespace {

Result<std::shared_ptr<arrow::Array>> ColumnOf(const arrow::Field& field, std::int64_t num_rows) {
  if (field.name() == "id") return arrow::MakeArrayFromScalar(arrow::Int64Scalar(kForeignId), num_rows);
  if (field.nullable()) return arrow::MakeArrayOfNull(field.type(), num_rows);
  if (field.type()->id() == arrow::Type::TIMESTAMP) {
    return arrow::MakeArrayFromScalar(arrow::TimestampScalar(0, field.type()), num_rows);
  }
  ASSIGN_OR_RETURN(const auto zero, arrow::Scalar::Parse(field.type(), "0"));
  return arrow::MakeArrayFromScalar(*zero, num_rows);
}

Status Append(delta::Table& table) {
  const auto snapshot = table.snapshot();
  const std::int64_t num_rows = Between(1, 5);
  std::vector<std::shared_ptr<arrow::Array>> columns;
  for (const auto& field : snapshot->schema->fields()) {
    ASSIGN_OR_RETURN(auto column, ColumnOf(*field, num_rows));
    columns.push_back(std::move(column));
  }
  ASSIGN_OR_RETURN(const auto writer, delta::DataFileWriter::Make(table.store(), snapshot->schema, {}));
  RETURN_NOT_OK(writer->Append(*arrow::RecordBatch::Make(snapshot->schema, num_rows, columns)));
  delta::CommitRequest request;
  ASSIGN_OR_RETURN(request.adds.emplace_back(), writer->Finish());
  request.operation = "WRITE";
  request.planned_schema = snapshot->metadata.schema_string;
  return table.Commit(request).status();
}

/// Some rows of a live file, chosen by the seed.
struct Chosen {
  std::vector<std::int64_t> positions{};  ///< Among the file's live rows, ascending.
  std::set<std::pair<int, model::Offset>> rows{};
  std::int64_t foreign = 0;
  std::int64_t num_live = 0;
};

Chosen ChooseRows(const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches, const Books& books) {
  const auto number = [](const arrow::RecordBatch& batch, const char* column, std::int64_t row) {
    const auto scalar = batch.GetColumnByName(column)->GetScalar(row).ValueOrDie();
    return model::Offset{std::stoll(scalar->ToString())};
  };
  Chosen chosen;
  for (const auto& batch : batches) {
    for (std::int64_t row = 0; row < batch->num_rows(); ++row) {
      const std::int64_t position = chosen.num_live++;
      if (!OneIn(4)) continue;
      chosen.positions.push_back(position);
      if (number(*batch, "id", row) == kForeignId) {
        ++chosen.foreign;
      } else {
        const auto topic = batch->GetColumnByName("_topic")->GetScalar(row).ValueOrDie()->ToString();
        const auto partition = static_cast<std::int32_t>(number(*batch, "_partition", row));
        chosen.rows.insert({books.PlaceOf({topic, partition}), number(*batch, "_offset", row)});
      }
    }
  }
  return chosen;
}

// The file is written again without them.
Status Rewrite(delta::Table& table, const delta::AddFile& file,
               const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches, Chosen chosen, Books& books) {
  const auto snapshot = table.snapshot();
  ASSIGN_OR_RETURN(const auto writer, delta::DataFileWriter::Make(table.store(), snapshot->schema, {}));
  auto next = chosen.positions.begin();
  std::int64_t position = 0;
  for (const auto& batch : batches) {
    for (std::int64_t row = 0; row < batch->num_rows(); ++row, ++position) {
      if (next != chosen.positions.end() && *next == position) {
        ++next;
      } else {
        RETURN_NOT_OK(writer->Append(*batch->Slice(row, 1)));
      }
    }
  }
  delta::CommitRequest request;
  ASSIGN_OR_RETURN(request.adds.emplace_back(), writer->Finish());
  books.ExpectRewrite(request.adds.back().path, {std::move(chosen.rows), chosen.foreign});
  request.removes = {delta::RemoveOf(file, UnixAtBegin() + Now(), true)};
  request.operation = "DELETE";
  request.is_blind_append = false;
  request.planned_schema = snapshot->metadata.schema_string;
  return table.Commit(request).status();
}

template <typename Number>
void AppendLittleEndian(std::string& out, Number number) {
  for (std::size_t i = 0; i < sizeof(number); ++i) out += static_cast<char>(number >> (8 * i) & 0xFF);
}

std::string BigEndian(std::uint32_t number) {
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(number >> shift & 0xFF);
  return out;
}

// Delta's PROTOCOL.md, "Deletion Vector Format": one Roaring bitmap of one container, an array.
std::string BitmapOf(const std::vector<std::int64_t>& positions) {
  std::string out;
  AppendLittleEndian(out, std::uint32_t{1681511377});
  AppendLittleEndian(out, std::uint64_t{1});  // Bitmaps, and the first one's key.
  AppendLittleEndian(out, std::uint32_t{0});
  AppendLittleEndian(out, std::uint32_t{12346});  // Without runs; one container, which has the key 0.
  AppendLittleEndian(out, std::uint32_t{1});
  AppendLittleEndian(out, std::uint16_t{0});
  AppendLittleEndian(out, static_cast<std::uint16_t>(positions.size() - 1));
  AppendLittleEndian(out, std::uint32_t{16});
  for (const auto position : positions) AppendLittleEndian(out, static_cast<std::uint16_t>(position));
  return out;
}

// ZeroMQ's base 85; padded with zeroes to groups of four bytes.
std::string Z85(std::string bytes) {
  constexpr const char* kDigits =
      "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
  bytes.resize((bytes.size() + 3) / 4 * 4);
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 4) {
    std::uint32_t group = 0;
    for (std::size_t j = i; j < i + 4; ++j) group = group << 8 | static_cast<unsigned char>(bytes[j]);
    for (std::uint32_t power = 85 * 85 * 85 * 85; power > 0; power /= 85) out += kDigits[group / power % 85];
  }
  return out;
}

// In the log, or in a file of its own.
Result<delta::DeletionVectorDescriptor> StoreVector(objectstore::ObjectStore& store,
                                                    const std::vector<std::int64_t>& positions, std::string* file) {
  const std::string bitmap = BitmapOf(positions);
  delta::DeletionVectorDescriptor vector{.storage_type = "i",
                                         .path_or_inline_dv = Z85(bitmap),
                                         .size_in_bytes = static_cast<std::int32_t>(bitmap.size()),
                                         .cardinality = std::ssize(positions)};
  if (OneIn(2)) return vector;
  const std::string uuid = RandomUuid();
  std::string bytes;
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    if (uuid[i] == '-') continue;
    bytes += static_cast<char>(std::stoi(uuid.substr(i++, 2), nullptr, 16));
  }
  vector.storage_type = "u";
  vector.path_or_inline_dv = Z85(bytes);
  vector.offset = 1;
  *file = "deletion_vector_" + uuid + ".bin";
  boost::crc_32_type crc;
  crc.process_bytes(bitmap.data(), bitmap.size());
  RETURN_NOT_OK(store.Put(*file, std::string("\1") + BigEndian(static_cast<std::uint32_t>(bitmap.size())) + bitmap +
                                     BigEndian(crc.checksum())));
  return vector;
}

// The file stays, with a vector that says which of its rows are gone: of those before too. The table then asks its
// readers and writers for the feature. Written by hand, for the product never does that.
Status MarkDeleted(delta::Table& table, const delta::AddFile& file, Chosen chosen, Books& books) {
  const auto snapshot = table.snapshot();
  const std::int64_t num_gone = file.deletion_vector ? file.deletion_vector->cardinality : 0;
  std::vector<std::int64_t> places;  // In the file, of rows that are live.
  std::vector<std::int64_t> gone;
  std::shared_ptr<arrow::Buffer> live;
  if (file.deletion_vector) {
    ASSIGN_OR_RETURN(live, delta::ReadLiveRows(*table.store(), *file.deletion_vector, chosen.num_live + num_gone));
  }
  for (std::int64_t row = 0; row < chosen.num_live + num_gone; ++row) {
    (live == nullptr || arrow::bit_util::GetBit(live->data(), row) ? places : gone).push_back(row);
  }
  for (const auto position : chosen.positions) gone.push_back(places[static_cast<std::size_t>(position)]);
  std::sort(gone.begin(), gone.end());
  constexpr std::size_t kArrayMax = 4096;
  if (gone.size() > kArrayMax || gone.back() > std::numeric_limits<std::uint16_t>::max()) return Status::OK();
  delta::AddFile marked = file;
  std::string vector_file;
  ASSIGN_OR_RETURN(marked.deletion_vector, StoreVector(*table.store(), gone, &vector_file));
  books.ExpectRewrite(Books::FileId(marked.path, marked.deletion_vector->path_or_inline_dv),
                      {std::move(chosen.rows), chosen.foreign, vector_file});
  delta::Protocol protocol = snapshot->protocol;
  protocol.min_reader_version = 3;
  protocol.min_writer_version = 7;
  if (!protocol.writer_features) protocol.writer_features = std::vector<std::string>{"appendOnly", "invariants"};
  for (auto* features : {&protocol.reader_features, &protocol.writer_features}) {
    if (!*features) features->emplace();
    if (std::count((*features)->begin(), (*features)->end(), "deletionVectors") > 0) continue;
    (*features)->push_back("deletionVectors");
  }
  std::string text;
  const std::int64_t now_ms = (UnixAtBegin() + Now()) / 1000;
  delta::AppendActionLine(
      text, delta::CommitInfo{
                .json = fmt::format(R"({{"timestamp":{},"operation":"DELETE","txnId":"{}"}})", now_ms, RandomUuid())});
  delta::AppendActionLine(text, protocol);
  delta::AppendActionLine(text, delta::RemoveOf(file, now_ms * 1000, true));
  delta::AppendActionLine(text, marked);
  ASSIGN_OR_RETURN(const auto put, table.store()->PutIfAbsent(delta::CommitKey(snapshot->version + 1), text));
  if (put == objectstore::PutOutcome::kExists) return Conflict("another commit has come");
  Count("foreign: a deletion vector");
  return Status::OK();
}

Status DeleteRows(delta::Table& table, Books& books) {
  const auto snapshot = table.snapshot();
  if (snapshot->files.size() == 0) return Status::OK();
  auto place = snapshot->files.begin();
  for (auto skip = Dice(snapshot->files.size()); skip > 0; --skip) ++place;
  const auto& file = (*place).second;
  ASSIGN_OR_RETURN(const auto batches,
                   delta::ReadDataFile(*table.store(), *snapshot, file, snapshot->schema->field_names()));
  Chosen chosen = ChooseRows(batches, books);
  if (chosen.positions.empty() || std::ssize(chosen.positions) == chosen.num_live) return Status::OK();
  if (OneIn(2)) return MarkDeleted(table, file, std::move(chosen), books);
  return Rewrite(table, file, batches, std::move(chosen), books);
}

Status SetProperty(delta::Table& table) {
  const auto snapshot = table.snapshot();
  delta::CommitRequest request;
  request.metadata = request.planned_metadata = snapshot->metadata;
  request.metadata->configuration["delta.checkpointInterval"] = std::to_string(Between(3, 30));
  request.operation = "SET TBLPROPERTIES";
  request.is_blind_append = false;
  return table.Commit(request).status();
}

}  // namespace

void ActAsForeigner(const pipeline::Plan& plan, Bucket& bucket, Books& books) {
  const auto& name = plan.tables[Dice(plan.tables.size())].name;
  const bool is_rows = &name == &plan.tables.front().name;
  const auto table = delta::Table::Open(objectstore::Below(bucket.NewClient(), name));
  if (!table.ok()) return;
  const auto did = [&](const char* what, const Status& status) {
    Tell(fmt::format("{} of {}: {}", what, name, status.ToString()));
    if (status.ok()) Count(std::string("foreign: ") + what);
  };
  switch (Dice(is_rows ? 6 : 4)) {
    case 0:
      return did("set properties", SetProperty(**table));
    case 1: {
      const auto compacted = delta::Compact(**table, {.min_files = 2});
      return did("optimize", compacted.status());
    }
    case 2: {
      const auto& retention = plan.config.maintenance.vacuum_retention;
      const auto vacuumed =
          delta::Vacuum(**table, {.retention = std::chrono::duration_cast<std::chrono::milliseconds>(*retention)});
      return did("vacuum", vacuumed.status());
    }
    case 3:
      return did("checkpoint", (*table)->WriteCheckpoint());
    case 4:
      return did("delete", DeleteRows(**table, books));
    default:
      return did("append", Append(**table));
  }
}

}  // namespace millrace::simulation
