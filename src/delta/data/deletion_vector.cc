#include "delta/data/deletion_vector.h"

#include <arrow/util/bit_util.h>

#include <array>
#include <bit>
#include <boost/crc.hpp>
#include <cstring>
#include <utility>

#include "delta/text/file_path.h"

namespace millrace::delta {
namespace {

constexpr std::uint32_t kPortableMagic = 1681511377;
// Cookies of the 32-bit format (RoaringFormatSpec): without and with run containers.
constexpr std::uint32_t kCookieNoRuns = 12346;
constexpr std::uint32_t kCookieRuns = 12347;
constexpr std::uint32_t kNoOffsetsBelow = 4;
constexpr std::uint32_t kArrayCardinalityMax = 4096;
constexpr std::size_t kBitsetBytes = 8192;

// Takes little-endian numbers off the front; remembers that it ran short.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  T Take() {
    const std::string_view raw = TakeBytes(sizeof(T));
    T value{};
    if (raw.size() == sizeof(T)) std::memcpy(&value, raw.data(), sizeof(T));
    return value;
  }
  std::string_view TakeBytes(std::size_t size) {
    if (size > bytes_.size()) {
      failed_ = true;
      bytes_ = {};
      return {};
    }
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  bool failed() const { return failed_; }

 private:
  static_assert(std::endian::native == std::endian::little, "the format is little-endian");
  std::string_view bytes_;
  bool failed_ = false;
};

std::uint32_t BigEndian32(std::string_view bytes) {
  std::uint32_t value = 0;
  for (const char c : bytes.substr(0, 4)) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

// Clears bits and counts them; a position beyond the file's rows is remembered as a mistake.
class Eraser {
 public:
  Eraser(std::uint8_t* live, std::int64_t num_rows) : live_(live), num_rows_(num_rows) {}

  bool Clear(std::uint64_t position) {
    if (position >= static_cast<std::uint64_t>(num_rows_)) return false;
    const auto row = static_cast<std::int64_t>(position);
    cleared_ += arrow::bit_util::GetBit(live_, row) ? 1 : 0;
    arrow::bit_util::ClearBit(live_, row);
    return true;
  }
  std::int64_t cleared() const { return cleared_; }
  Status Beyond(std::uint64_t position) const {
    return Corrupt("it deletes row {} of a file that has {}", position, num_rows_);
  }

 private:
  std::uint8_t* live_;
  std::int64_t num_rows_;
  std::int64_t cleared_ = 0;
};

Status ClearContainer(ByteReader& in, std::uint64_t base, bool is_run, std::uint32_t cardinality, Eraser& eraser) {
  if (is_run) {
    const auto runs = in.Take<std::uint16_t>();
    std::uint64_t next = 0;
    for (std::uint32_t run = 0; run < runs && !in.failed(); ++run) {
      const auto start = in.Take<std::uint16_t>();
      const auto more = in.Take<std::uint16_t>();
      // Ascending, as the format says; this also bounds the work by the number of rows.
      if (start < next) return Corrupt("its bitmap has runs that overlap");
      next = std::uint64_t{start} + more + 1;
      for (std::uint64_t at = start; at <= std::uint64_t{start} + more; ++at) {
        if (!eraser.Clear(base + at)) return eraser.Beyond(base + at);
      }
    }
  } else if (cardinality <= kArrayCardinalityMax) {
    for (std::uint32_t i = 0; i < cardinality && !in.failed(); ++i) {
      const std::uint64_t at = base + in.Take<std::uint16_t>();
      if (!in.failed() && !eraser.Clear(at)) return eraser.Beyond(at);
    }
  } else {
    const std::string_view bits = in.TakeBytes(kBitsetBytes);
    for (std::size_t byte = 0; byte < bits.size(); ++byte) {
      for (auto rest = static_cast<unsigned char>(bits[byte]); rest != 0;
           rest = static_cast<unsigned char>(rest & (rest - 1))) {
        const std::uint64_t at = base + byte * 8 + static_cast<unsigned>(std::countr_zero(rest));
        if (!eraser.Clear(at)) return eraser.Beyond(at);
      }
    }
  }
  return in.failed() ? Corrupt("its bitmap is cut off") : Status::OK();
}

// One 32-bit bitmap in the portable format, of the positions base + [0, 2^32).
Status ClearBitmap(ByteReader& in, std::uint64_t base, Eraser& eraser) {
  const auto cookie = in.Take<std::uint32_t>();
  const bool has_runs = (cookie & 0xFFFF) == kCookieRuns;
  if (!has_runs && cookie != kCookieNoRuns)
    return Corrupt("its bitmap begins with {}, which is no Roaring cookie", cookie);
  const std::uint32_t num_containers = has_runs ? (cookie >> 16) + 1 : in.Take<std::uint32_t>();
  if (num_containers > 65536) return Corrupt("its bitmap has {} containers", num_containers);
  const std::string_view run_flags = has_runs ? in.TakeBytes((num_containers + 7) / 8) : std::string_view();
  const std::string_view header = in.TakeBytes(std::size_t{num_containers} * 4);
  if (!has_runs || num_containers >= kNoOffsetsBelow) in.TakeBytes(std::size_t{num_containers} * 4);
  if (in.failed()) return Corrupt("its bitmap is cut off");
  ByteReader entries(header);
  int last_key = -1;
  for (std::uint32_t i = 0; i < num_containers; ++i) {
    const auto key = entries.Take<std::uint16_t>();
    if (key <= last_key) return Corrupt("its bitmap has containers out of order");
    last_key = key;
    const std::uint32_t cardinality = entries.Take<std::uint16_t>() + 1U;
    const bool is_run = has_runs && (static_cast<unsigned char>(run_flags[i / 8]) >> (i % 8) & 1) != 0;
    RETURN_NOT_OK(ClearContainer(in, base + (std::uint64_t{key} << 16), is_run, cardinality, eraser));
  }
  return Status::OK();
}

Result<std::string> UuidFromZ85(std::string_view text) {
  ASSIGN_OR_RETURN(const std::string bytes, DecodeZ85(text));
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    out += fmt::format("{:02x}", static_cast<unsigned char>(bytes[i]));
  }
  return out;
}

// The serialized bitmap of a vector that lies in a file: [size, bitmap, CRC-32], both numbers big-endian.
Result<std::string> ReadStored(objectstore::ObjectStore& store, const std::string& key,
                               const DeletionVectorDescriptor& descriptor) {
  ASSIGN_OR_RETURN(const auto file, store.Open(key));
  ASSIGN_OR_RETURN(const std::int64_t file_size, file->GetSize());
  const std::int64_t offset = descriptor.offset.value_or(1);
  const std::int64_t size = descriptor.size_in_bytes;
  if (offset < 0 || size < 0 || offset + size + 8 > file_size) {
    return Corrupt("it should lie at bytes {} to {} of a file with {}", offset, offset + size + 8, file_size);
  }
  ASSIGN_OR_RETURN(const auto buffer, file->ReadAt(offset, size + 8));
  const std::string_view bytes(*buffer);
  if (static_cast<std::int64_t>(bytes.size()) != size + 8) return Corrupt("its file is cut off");
  if (BigEndian32(bytes) != static_cast<std::uint32_t>(size)) {
    return Corrupt("its file says that it has {} bytes, the log says {}", BigEndian32(bytes), size);
  }
  const std::string_view bitmap = bytes.substr(4, static_cast<std::size_t>(size));
  boost::crc_32_type crc;
  crc.process_bytes(bitmap.data(), bitmap.size());
  if (crc.checksum() != BigEndian32(bytes.substr(4 + bitmap.size()))) return Corrupt("its checksum does not match");
  return std::string(bitmap);
}

Result<std::string> ReadSerialized(objectstore::ObjectStore& store, const DeletionVectorDescriptor& descriptor,
                                   const std::string& key) {
  if (!key.empty()) return ReadStored(store, key, descriptor);
  ASSIGN_OR_RETURN(std::string bytes, DecodeZ85(descriptor.path_or_inline_dv));
  if (descriptor.size_in_bytes < 0 || static_cast<std::size_t>(descriptor.size_in_bytes) > bytes.size()) {
    return Corrupt("it has {} bytes, the log says {}", bytes.size(), descriptor.size_in_bytes);
  }
  bytes.resize(static_cast<std::size_t>(descriptor.size_in_bytes));  // What follows pads it to whole groups of five.
  return bytes;
}

}  // namespace

Result<std::string> DecodeZ85(std::string_view text) {
  static constexpr std::string_view kDigits =
      "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
  static const auto kValues = [] {
    std::array<std::int8_t, 256> values;
    values.fill(-1);
    for (std::size_t i = 0; i < kDigits.size(); ++i) {
      values[static_cast<unsigned char>(kDigits[i])] = static_cast<std::int8_t>(i);
    }
    return values;
  }();
  if (text.size() % 5 != 0) return Corrupt("its base 85 text has {} characters, not a multiple of 5", text.size());
  std::string out;
  out.reserve(text.size() / 5 * 4);
  for (std::size_t i = 0; i < text.size(); i += 5) {
    std::uint64_t group = 0;
    for (std::size_t j = i; j < i + 5; ++j) {
      const int value = kValues[static_cast<unsigned char>(text[j])];
      if (value < 0) return Corrupt("its base 85 text has the character {:#x}", static_cast<unsigned char>(text[j]));
      group = group * 85 + static_cast<std::uint64_t>(value);
    }
    if (group > UINT32_MAX) return Corrupt("its base 85 text is out of range");
    for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(group >> shift & 0xFF);
  }
  return out;
}

Result<std::string> DeletionVectorKey(const DeletionVectorDescriptor& descriptor,
                                      const objectstore::ObjectStore& store) {
  constexpr std::size_t kUuidCharacters = 20;
  const std::string& text = descriptor.path_or_inline_dv;
  if (descriptor.storage_type == "i") return std::string();
  if (descriptor.storage_type == "p") return DecodePath(text, store);
  if (descriptor.storage_type != "u") {
    return Unsupported("deletion vector: the storage type '{}' is not known", descriptor.storage_type);
  }
  if (text.size() < kUuidCharacters) return Corrupt("deletion vector '{}': its path is too short", text);
  const std::string prefix = text.substr(0, text.size() - kUuidCharacters);
  auto uuid = UuidFromZ85(std::string_view(text).substr(prefix.size()));
  if (!uuid.ok()) return WithContext(uuid.status(), "deletion vector '{}'", text);
  const std::string name = "deletion_vector_" + *uuid + ".bin";
  return DecodeRelativePath(EncodePath(prefix.empty() ? name : prefix + "/" + name));
}

Result<std::int64_t> ClearDeleted(std::string_view bytes, std::uint8_t* live, std::int64_t num_rows) {
  ByteReader in(bytes);
  const auto magic = in.Take<std::uint32_t>();
  if (in.failed() || magic != kPortableMagic) return Corrupt("it begins with {}, not with {}", magic, kPortableMagic);
  const auto num_bitmaps = in.Take<std::uint64_t>();
  Eraser eraser(live, num_rows);
  std::int64_t last_key = -1;
  for (std::uint64_t i = 0; i < num_bitmaps; ++i) {
    const auto key = in.Take<std::uint32_t>();
    if (in.failed()) return Corrupt("its bitmap is cut off");
    if (key <= last_key) return Corrupt("its bitmaps are out of order");
    last_key = key;
    RETURN_NOT_OK(ClearBitmap(in, std::uint64_t{key} << 32, eraser));
  }
  if (in.failed()) return Corrupt("its bitmap is cut off");
  return eraser.cleared();
}

Result<std::shared_ptr<arrow::Buffer>> ReadLiveRows(objectstore::ObjectStore& store,
                                                    const DeletionVectorDescriptor& descriptor, std::int64_t num_rows) {
  ASSIGN_OR_RETURN(const std::string key, DeletionVectorKey(descriptor, store));
  const std::string name = key.empty() ? "inline deletion vector" : "deletion vector " + key;
  const auto bytes = ReadSerialized(store, descriptor, key);
  if (!bytes.ok()) return WithContext(bytes.status(), "{}", name);
  ASSIGN_OR_RETURN(std::shared_ptr<arrow::Buffer> live, arrow::AllocateBuffer((num_rows + 7) / 8));
  std::memset(live->mutable_data(), 0xFF, static_cast<std::size_t>(live->size()));
  const auto cleared = ClearDeleted(*bytes, live->mutable_data(), num_rows);
  if (!cleared.ok()) return WithContext(cleared.status(), "{}", name);
  if (*cleared != descriptor.cardinality) {
    return Corrupt("{}: it deletes {} rows, the log says {}", name, *cleared, descriptor.cardinality);
  }
  return live;
}

}  // namespace millrace::delta
