#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <string_view>
#include <vector>

#include "eventlog/embedded/journal_internal.h"

namespace millrace::eventlog {
namespace {

constexpr std::size_t kJournalBlockBytes = 32 << 10;
// Checksum (4), length (2), kind (1).
constexpr std::size_t kHeaderBytes = 7;
enum Kind : unsigned char { kWhole = 1, kFirst = 2, kMiddle = 3, kLast = 4 };

constexpr std::array<std::uint32_t, 256> Crc32cTable() {
  constexpr std::uint32_t kPolynomial = 0x82F63B78;
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    table[byte] = crc;
  }
  return table;
}

std::uint32_t Crc32c(std::string_view bytes) {
  static constexpr auto kTable = Crc32cTable();
  std::uint32_t crc = ~0U;
  for (const char c : bytes) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xFF];
  return ~crc;
}

// As RocksDB stores it: so that the checksum of bytes with checksums in them is still a good one.
std::uint32_t Masked(std::uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xA282EAD8U; }

struct Piece {
  std::uint32_t checksum;
  std::size_t length;
  unsigned char kind;
};

// `at` is at least a header before the end of the block.
Piece PieceAt(std::string_view block, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(block[at + i]));
  };
  return {byte(0) | byte(1) << 8 | byte(2) << 16 | byte(3) << 24, byte(4) | byte(5) << 8,
          static_cast<unsigned char>(block[at + 6])};
}

bool Fits(std::string_view block, std::size_t at, const Piece& piece) {
  return piece.kind >= kWhole && piece.kind <= kLast && at + kHeaderBytes + piece.length <= block.size();
}

bool IsIntact(std::string_view block, std::size_t at, const Piece& piece) {
  return Fits(block, at, piece) &&
         Masked(Crc32c(block.substr(at + kHeaderBytes - 1, 1 + piece.length))) == piece.checksum;
}

bool IsZero(std::string_view bytes) { return bytes.find_first_not_of('\0') == std::string_view::npos; }

// Where the first piece begins that is not as it was written; the block's size: none. The last bytes of a block, less
// than a header, are zeros.
std::size_t DamageIn(std::string_view block, bool checks_content) {
  std::size_t at = 0;
  while (at + kHeaderBytes <= block.size()) {
    const Piece piece = PieceAt(block, at);
    if (checks_content ? !IsIntact(block, at, piece) : !Fits(block, at, piece)) return at;
    at += kHeaderBytes + piece.length;
  }
  return IsZero(block.substr(at)) ? block.size() : at;
}

// Whether a write begins at `at` or behind it: at any byte, because damage may have hit a length.
bool HasWriteIn(std::string_view block, std::size_t at) {
  for (; at + kHeaderBytes <= block.size(); ++at) {
    const Piece piece = PieceAt(block, at);
    if ((piece.kind == kWhole || piece.kind == kFirst) && IsIntact(block, at, piece)) return true;
  }
  return false;
}

}  // namespace

Result<std::optional<JournalDamage>> DamageOf(const std::string& path, bool checks_content) {
  std::ifstream file(path, std::ios::binary);
  std::optional<JournalDamage> damage;
  bool is_room = true;  // Nothing but zeros there: room that was reserved, and never written to.
  std::vector<char> bytes(kJournalBlockBytes);
  for (std::uint64_t begin = 0; file; begin += kJournalBlockBytes) {
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    const std::string_view block(bytes.data(), static_cast<std::size_t>(file.gcount()));
    const std::size_t at = damage ? 0 : DamageIn(block, checks_content);
    if (at == block.size()) continue;
    if (!damage) damage = JournalDamage{.at = begin + at};
    is_room = is_room && IsZero(block.substr(at));
    damage->has_more_behind = HasWriteIn(block, at);
    if (damage->has_more_behind) return damage;
  }
  if (!file.eof()) return Transient("{} cannot be read: {}", path, std::strerror(errno));
  return is_room ? std::nullopt : damage;
}

}  // namespace millrace::eventlog
