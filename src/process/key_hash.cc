#include "process/key_hash.h"

#include <arrow/array.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <utility>

namespace millrace::process {
namespace {

struct SipState {
  std::uint64_t v0, v1, v2, v3;

  void Round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  void Take(std::uint64_t word) {
    v3 ^= word;
    Round();
    Round();
    v0 ^= word;
  }
};

std::uint64_t RandomWord() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

template <typename Value>
void Append(std::string& bytes, const Value& value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// Types have a fixed width or their length before them, so that no two keys have the same bytes.
void AppendValue(const arrow::Array& column, std::int64_t row, std::string& bytes) {
  switch (column.type_id()) {
    case arrow::Type::STRING:
    case arrow::Type::BINARY: {
      const auto text = static_cast<const arrow::BinaryArray&>(column).GetView(row);
      Append(bytes, static_cast<std::uint32_t>(text.size()));
      bytes.append(text);
      return;
    }
    case arrow::Type::BOOL:
      return bytes.push_back(static_cast<const arrow::BooleanArray&>(column).Value(row) ? 1 : 0);
    case arrow::Type::DOUBLE: {
      double value = static_cast<const arrow::DoubleArray&>(column).Value(row);
      if (std::isnan(value)) value = std::numeric_limits<double>::quiet_NaN();
      return Append(bytes, value == 0 ? 0.0 : value);
    }
    default: {
      const auto& values = static_cast<const arrow::PrimitiveArray&>(column);
      const int width = values.type()->bit_width() / 8;
      const auto* const first = reinterpret_cast<const char*>(values.values()->data());
      bytes.append(first + (values.offset() + row) * width, width);
    }
  }
}

}  // namespace

KeyHash SipHash(std::string_view bytes, const KeyHash& secret) {
  SipState state{secret.low ^ 0x736f6d6570736575, secret.high ^ 0x646f72616e646f6d ^ 0xee,
                 secret.low ^ 0x6c7967656e657261, secret.high ^ 0x7465646279746573};
  const std::size_t whole = bytes.size() & ~std::size_t{7};
  std::uint64_t word = 0;
  for (std::size_t at = 0; at < whole; at += 8) {
    std::memcpy(&word, bytes.data() + at, 8);
    state.Take(word);
  }
  word = 0;
  std::memcpy(&word, bytes.data() + whole, bytes.size() - whole);
  state.Take(word | std::uint64_t{bytes.size()} << 56);
  const auto finish = [&state] {
    for (int i = 0; i < 4; ++i) state.Round();
    return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
  };
  state.v2 ^= 0xee;
  KeyHash hash{.low = finish()};
  state.v1 ^= 0xdd;
  hash.high = finish();
  return hash;
}

bool CanBeKey(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
    case arrow::Type::BOOL:
    case arrow::Type::INT32:
    case arrow::Type::INT64:
    case arrow::Type::DOUBLE:
    case arrow::Type::DECIMAL128:
    case arrow::Type::DATE32:
    case arrow::Type::TIMESTAMP:
      return true;
    default:
      return false;
  }
}

KeyHasher::KeyHasher(std::vector<int> columns)
    : columns_(std::move(columns)), secret_{.high = RandomWord(), .low = RandomWord()} {}

void KeyHasher::Hash(const arrow::RecordBatch& rows, std::vector<KeyHash>& hashes, std::vector<std::uint8_t>& has_key) {
  const auto num_rows = static_cast<std::size_t>(rows.num_rows());
  hashes.resize(num_rows);
  has_key.assign(num_rows, 1);
  for (const int c : columns_) {
    const auto& column = *rows.column(c);
    if (column.null_count() == 0) continue;
    for (std::size_t i = 0; i < num_rows; ++i) {
      if (column.IsNull(static_cast<std::int64_t>(i))) has_key[i] = 0;
    }
  }
  if (columns_.size() == 1 && rows.column(columns_[0])->type_id() == arrow::Type::STRING) {
    const auto& texts = static_cast<const arrow::StringArray&>(*rows.column(columns_[0]));
    for (std::size_t i = 0; i < num_rows; ++i) {
      hashes[i] = SipHash(texts.GetView(static_cast<std::int64_t>(i)), secret_);
    }
    return;
  }
  std::vector<const arrow::Array*> columns;
  for (const int c : columns_) columns.push_back(rows.column(c).get());
  for (std::size_t i = 0; i < num_rows; ++i) {
    bytes_.clear();
    for (const auto* column : columns) AppendValue(*column, static_cast<std::int64_t>(i), bytes_);
    hashes[i] = SipHash(bytes_, secret_);
  }
}

}  // namespace millrace::process
