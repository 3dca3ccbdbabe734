#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "ingest/values/utf8_text_internal.h"

namespace millrace::ingest {
namespace {

// Each length, with more room behind it or less, in blocks of just that size: a sanitizer sees each step beyond.
TEST(Utf8Text, CopiesEachLengthAndNothingBeyondTheEnds) {
  for (std::size_t size = 0; size <= 70; ++size) {
    for (std::size_t room = 0; room <= 17; ++room) {
      std::string text;
      for (std::size_t i = 0; i < size; ++i) text += static_cast<char>('a' + i % 26);
      // What lies behind is no part of it.
      const std::string block = text + std::string(room, '\xFF');
      const auto from = std::make_unique<char[]>(block.size());
      std::memcpy(from.get(), block.data(), block.size());
      for (const std::size_t writable : {std::size_t{0}, room}) {
        const auto to = std::make_unique<char[]>(size + writable);
        EXPECT_TRUE(CopyUtf8({from.get(), size}, from.get() + block.size(), to.get(), to.get() + size + writable));
        EXPECT_EQ(std::string(to.get(), size), text);
      }
    }
  }
}

TEST(Utf8Text, SeesABadByteAtEachPlace) {
  for (const std::size_t behind : {0, 20}) {
    for (std::size_t size = 1; size <= 40; ++size) {
      for (std::size_t at = 0; at < size; ++at) {
        std::string text(size + behind, 'x');
        std::string to(size + behind, ' ');
        text[at] = '\x80';
        EXPECT_FALSE(CopyUtf8({text.data(), size}, text.data() + text.size(), to.data(), to.data() + to.size()));
        if (at + 1 == size) continue;
        text[at] = '\xC3';
        text[at + 1] = '\xA9';
        EXPECT_TRUE(CopyUtf8({text.data(), size}, text.data() + text.size(), to.data(), to.data() + to.size()));
        EXPECT_EQ(to.substr(0, size), text.substr(0, size));
      }
    }
  }
}

}  // namespace
}  // namespace millrace::ingest
