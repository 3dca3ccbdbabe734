#include "process/lookup_table.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/compute/api_vector.h>
#include <arrow/datum.h>
#include <arrow/scalar.h>
#include <arrow/util/byte_size.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "process/select_statement.h"

namespace millrace::process {
namespace {

using aggregate::ColumnView;
using aggregate::PhysicalType;

// Hashed before any of them is looked up, so that the memory of all is on its way at once.
constexpr std::int64_t kRowsAtOnce = 64;

std::uint64_t Mix(std::uint64_t a, std::uint64_t b) {
  __extension__ using Uint128 = unsigned __int128;
  const auto product = static_cast<Uint128>(a ^ 0x2d358dccaa6c78a5u) * (b ^ 0x8bb84b93962eacc9u);
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t HashBytes(std::string_view bytes, std::uint64_t hash) {
  hash ^= bytes.size();
  while (!bytes.empty()) {
    std::uint64_t word = 0;
    const std::size_t taken = std::min(bytes.size(), sizeof(word));
    std::memcpy(&word, bytes.data(), taken);
    hash = Mix(hash, word);
    bytes.remove_prefix(taken);
  }
  return Mix(hash, 0);
}

// Of rows [begin, begin + count); 0 for a row with a null among its keys, which no other hash is.
void HashRows(const std::vector<ColumnView>& keys, std::int64_t begin, std::int64_t count, std::uint64_t* hashes) {
  std::fill_n(hashes, count, 1);
  for (const auto& key : keys) {
    switch (key.physical()) {
      case PhysicalType::kBytes:
        for (std::int64_t i = 0; i < count; ++i) hashes[i] = HashBytes(key.bytes()[begin + i], hashes[i]);
        break;
      case PhysicalType::kInt128:
        for (std::int64_t i = 0; i < count; ++i) {
          const aggregate::Int128 value = key.int128s()[begin + i];
          hashes[i] = Mix(Mix(hashes[i], static_cast<std::uint64_t>(value)), static_cast<std::uint64_t>(value >> 64));
        }
        break;
      default:
        for (std::int64_t i = 0; i < count; ++i) {
          hashes[i] = Mix(hashes[i], static_cast<std::uint64_t>(key.int64s()[begin + i]));
        }
    }
  }
  for (std::int64_t i = 0; i < count; ++i) hashes[i] = std::max<std::uint64_t>(hashes[i], 1);
  for (const auto& key : keys) {
    if (key.valid() == nullptr) continue;
    for (std::int64_t i = 0; i < count; ++i) {
      if (key.valid()[begin + i] == 0) hashes[i] = 0;
    }
  }
}

bool SameKey(const std::vector<ColumnView>& a, std::int64_t row_a, const std::vector<ColumnView>& b,
             std::int64_t row_b) {
  for (std::size_t k = 0; k < a.size(); ++k) {
    switch (a[k].physical()) {
      case PhysicalType::kBytes:
        if (a[k].bytes()[row_a] != b[k].bytes()[row_b]) return false;
        break;
      case PhysicalType::kInt128:
        if (a[k].int128s()[row_a] != b[k].int128s()[row_b]) return false;
        break;
      default:
        if (a[k].int64s()[row_a] != b[k].int64s()[row_b]) return false;
    }
  }
  return true;
}

// Of two rows of one table: negative, 0, positive.
int CompareKeys(const std::vector<ColumnView>& keys, std::int64_t a, std::int64_t b) {
  const auto compare = [a, b](const auto* values) {
    return values[a] < values[b] ? -1 : (values[b] < values[a] ? 1 : 0);
  };
  for (const auto& key : keys) {
    int order = 0;
    switch (key.physical()) {
      case PhysicalType::kBytes:
        order = compare(key.bytes());
        break;
      case PhysicalType::kInt128:
        order = compare(key.int128s());
        break;
      default:
        order = compare(key.int64s());
    }
    if (order != 0) return order;
  }
  return 0;
}

const std::int64_t* Times(const arrow::Array& array) {
  return static_cast<const arrow::TimestampArray&>(array).raw_values();
}

}  // namespace

std::string KeyClassOf(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::INT8:
    case arrow::Type::INT16:
    case arrow::Type::INT32:
    case arrow::Type::INT64:
      return "integer";
    case arrow::Type::STRING:
      return "text";
    case arrow::Type::BINARY:
      return "binary";
    case arrow::Type::BOOL:
      return "boolean";
    case arrow::Type::DATE32:
      return "date";
    case arrow::Type::TIMESTAMP:
      return static_cast<const arrow::TimestampType&>(type).timezone().empty() ? "timestamp without time zone"
                                                                               : "timestamp";
    case arrow::Type::DECIMAL128:
      return fmt::format("decimal of scale {}", static_cast<const arrow::Decimal128Type&>(type).scale());
    default:
      return "";
  }
}

Status CheckLookupShape(const LookupShape& shape) {
  RETURN_NOT_OK(CheckUniqueNames("lookup " + shape.name, shape.schema->field_names()));
  for (const int column : shape.key) {
    const auto& field = *shape.schema->field(column);
    if (KeyClassOf(*field.type()).empty()) {
      return InvalidInput(
          "lookup {}: the key column {} is {}; a key is text, an integer, a decimal, a date, a timestamp, "
          "a boolean or binary",
          shape.name, field.name(), field.type()->ToString());
    }
  }
  for (const int column : {shape.valid_from, shape.valid_to}) {
    if (column < 0) continue;
    const auto& field = *shape.schema->field(column);
    if (field.type()->id() != arrow::Type::TIMESTAMP) {
      return InvalidInput("lookup {}: the validity {} is {}; it must be a timestamp", shape.name, field.name(),
                          field.type()->ToString());
    }
  }
  if (shape.valid_to >= 0 &&
      !shape.schema->field(shape.valid_to)->type()->Equals(*shape.schema->field(shape.valid_from)->type())) {
    return InvalidInput("lookup {}: valid_from and valid_to are of two types", shape.name);
  }
  return Status::OK();
}

Result<std::shared_ptr<const LookupTable>> LookupTable::Make(const LookupShape& shape, std::string version,
                                                             std::shared_ptr<arrow::RecordBatch> rows) {
  if (rows->num_rows() > std::numeric_limits<std::int32_t>::max() / 2) {
    return TooLarge("lookup {}: {} rows are more than {}", shape.name, rows->num_rows(),
                    std::numeric_limits<std::int32_t>::max() / 2);
  }
  std::shared_ptr<LookupTable> table(new LookupTable());
  table->version_ = std::move(version);
  table->rows_ = std::move(rows);
  if (shape.valid_from >= 0) RETURN_NOT_OK(table->OrderByValidity(shape));
  RETURN_NOT_OK(table->Index(shape));
  table->bytes_ = arrow::util::TotalBufferSize(*table->rows_) +
                  static_cast<std::int64_t>(table->slots_.size() * sizeof(Slot) + table->ends_.size() * 4);
  for (const int column : shape.key) {
    // What a view keeps beside the column: texts as views, narrow integers widened.
    const bool is_text = aggregate::PhysicalTypeOf(*shape.schema->field(column)->type()) == PhysicalType::kBytes;
    table->bytes_ += table->rows_->num_rows() * (is_text ? 16 : 8);
  }
  return table;
}

// The rows of a key become neighbours, ascending by valid_from; rows that are never valid go.
Status LookupTable::OrderByValidity(const LookupShape& shape) {
  std::vector<ColumnView> keys(shape.key.size());
  for (std::size_t k = 0; k < keys.size(); ++k) RETURN_NOT_OK(keys[k].Load(rows_->column(shape.key[k])));
  const auto& from = *rows_->column(shape.valid_from);
  const arrow::Array* to = shape.valid_to < 0 ? nullptr : rows_->column(shape.valid_to).get();
  const auto has_key = [&](std::int32_t row) {
    return std::all_of(keys.begin(), keys.end(),
                       [&](const ColumnView& key) { return key.valid() == nullptr || key.valid()[row] != 0; });
  };
  std::vector<std::int32_t> order;
  for (std::int32_t row = 0; row < rows_->num_rows(); ++row) {
    const bool never =
        !has_key(row) || from.IsNull(row) || (to != nullptr && to->IsValid(row) && Times(*to)[row] <= Times(from)[row]);
    if (!never) order.push_back(row);
  }
  std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    const int keys_order = CompareKeys(keys, a, b);
    return keys_order != 0 ? keys_order < 0 : Times(from)[a] < Times(from)[b];
  });
  arrow::Int32Builder builder;
  RETURN_NOT_OK(builder.AppendValues(order));
  ASSIGN_OR_RETURN(const auto places, builder.Finish());
  ASSIGN_OR_RETURN(auto sorted, arrow::compute::Take(arrow::Datum(rows_), arrow::Datum(places),
                                                     arrow::compute::TakeOptions::NoBoundsCheck()));
  rows_ = sorted.record_batch();
  valid_from_ = rows_->column(shape.valid_from);
  if (shape.valid_to >= 0) valid_to_ = rows_->column(shape.valid_to);
  ends_.assign(static_cast<std::size_t>(rows_->num_rows()), 0);
  return Status::OK();
}

Status LookupTable::RefuseTwice(const LookupShape& shape, std::int64_t row) const {
  std::string key;
  for (const int column : shape.key) {
    ASSIGN_OR_RETURN(const auto value, rows_->column(column)->GetScalar(row));
    key += fmt::format("{}{} = {}", key.empty() ? "" : ", ", shape.schema->field(column)->name(), value->ToString());
  }
  if (shape.valid_from < 0) return InvalidInput("lookup {}: two rows have the key {}", shape.name, key);
  ASSIGN_OR_RETURN(const auto from, valid_from_->GetScalar(row));
  return InvalidInput("lookup {}: two rows of the key {} are valid at {}", shape.name, key, from->ToString());
}

Status LookupTable::Index(const LookupShape& shape) {
  const std::int64_t num_rows = rows_->num_rows();
  keys_.resize(shape.key.size());
  for (std::size_t k = 0; k < keys_.size(); ++k) RETURN_NOT_OK(keys_[k].Load(rows_->column(shape.key[k])));
  slots_.assign(std::bit_ceil(static_cast<std::size_t>(num_rows + num_rows / 2 + 1)), {});
  const std::size_t mask = slots_.size() - 1;
  std::uint64_t hashes[kRowsAtOnce];
  std::int32_t first = 0;  // Of the key at hand.
  for (std::int64_t begin = 0; begin < num_rows; begin += kRowsAtOnce) {
    const std::int64_t count = std::min(kRowsAtOnce, num_rows - begin);
    HashRows(keys_, begin, count, hashes);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto row = static_cast<std::int32_t>(begin + i);
      if (hashes[i] == 0) continue;
      if (valid_from_ != nullptr && row > first && SameKey(keys_, row, keys_, row - 1)) {
        const bool overlaps = valid_to_ == nullptr
                                  ? Times(*valid_from_)[row] == Times(*valid_from_)[row - 1]
                                  : valid_to_->IsNull(row - 1) || Times(*valid_to_)[row - 1] > Times(*valid_from_)[row];
        if (overlaps) return RefuseTwice(shape, row);
        ends_[first] = row + 1;
        continue;
      }
      const Slot entry{static_cast<std::uint32_t>(hashes[i] >> 32), row};
      std::size_t at = hashes[i] & mask;
      for (; slots_[at].row >= 0; at = (at + 1) & mask) {
        if (slots_[at].tag == entry.tag && SameKey(keys_, row, keys_, slots_[at].row)) return RefuseTwice(shape, row);
      }
      slots_[at] = entry;
      first = row;
      if (valid_from_ != nullptr) ends_[row] = row + 1;
    }
  }
  return Status::OK();
}

std::int32_t LookupTable::AtTime(std::int32_t first, std::int64_t time, bool takes_open) const {
  const std::int64_t* const from = Times(*valid_from_);
  const auto row =
      static_cast<std::int32_t>(std::upper_bound(from + first, from + ends_[first], time) - from) - 1;  // Begun last.
  if (row < first) return -1;
  if (valid_to_ == nullptr) return row;
  if (valid_to_->IsNull(row)) return takes_open ? row : -1;
  return time < Times(*valid_to_)[row] ? row : -1;
}

void LookupTable::Find(const std::vector<ColumnView>& keys, const ColumnView* times, bool takes_open,
                       std::int64_t num_rows, std::int32_t* found) const {
  const std::size_t mask = slots_.size() - 1;
  std::uint64_t hashes[kRowsAtOnce];
  for (std::int64_t begin = 0; begin < num_rows; begin += kRowsAtOnce) {
    const std::int64_t count = std::min(kRowsAtOnce, num_rows - begin);
    HashRows(keys, begin, count, hashes);
    for (std::int64_t i = 0; i < count; ++i) __builtin_prefetch(&slots_[hashes[i] & mask]);
    for (std::int64_t i = 0; i < count; ++i) {
      std::int32_t row = -1;
      if (hashes[i] != 0) {
        const auto tag = static_cast<std::uint32_t>(hashes[i] >> 32);
        for (std::size_t at = hashes[i] & mask; slots_[at].row >= 0; at = (at + 1) & mask) {
          if (slots_[at].tag != tag || !SameKey(keys, begin + i, keys_, slots_[at].row)) continue;
          row = slots_[at].row;
          break;
        }
      }
      if (row >= 0 && times != nullptr) {
        const bool has_time = times->valid() == nullptr || times->valid()[begin + i] != 0;
        row = has_time ? AtTime(row, times->int64s()[begin + i], takes_open) : -1;
      }
      found[begin + i] = row;
    }
  }
}

}  // namespace millrace::process
