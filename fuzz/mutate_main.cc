// A fuzzer for compilers without libFuzzer: mutates the corpus at random (seeded) for a while and runs the target.
// usage: TARGET_mutate SECONDS SEED CORPUS...; the input at work is in ./fuzz-input when the target dies.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::size_t kSizeMax = 1 << 16;

std::string Mutated(const std::vector<std::string>& corpus, std::mt19937_64& random) {
  const auto pick = [&](std::size_t n) { return n == 0 ? 0 : random() % n; };
  std::string input = corpus[pick(corpus.size())];
  for (std::size_t n = 1 + pick(6); n > 0; --n) {
    const std::size_t at = pick(input.size());
    switch (pick(6)) {
      case 0:
        if (!input.empty()) input[at] = static_cast<char>(input[at] ^ 1 << pick(8));
        break;
      case 1:
        if (!input.empty()) input[at] = static_cast<char>(random());
        break;
      case 2:
        input.insert(at, 1 + pick(8), static_cast<char>(random()));
        break;
      case 3:
        input.erase(at, 1 + pick(16));
        break;
      case 4: {
        const std::string& other = corpus[pick(corpus.size())];
        const std::size_t from = pick(other.size());
        input.insert(at, other.substr(from, 1 + pick(64)));
        break;
      }
      default:
        // Numbers that sizes and counts trip over.
        for (std::size_t i = 0; i < 4 && at + i < input.size(); ++i) input[at + i] = pick(2) == 0 ? '\xFF' : '\0';
    }
  }
  if (input.size() > kSizeMax) input.resize(kSizeMax);
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 64;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(argv[1]));
  std::mt19937_64 random(static_cast<std::uint64_t>(std::atoll(argv[2])));
  std::vector<std::string> corpus;
  for (int i = 3; i < argc; ++i) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path(), std::ios::binary);
      corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
  }
  if (corpus.empty()) return 1;
  long long runs = 0;
  for (; std::chrono::steady_clock::now() < end; ++runs) {
    const std::string input = Mutated(corpus, random);
    // Kept where it survives the target's death; the folder may be in memory.
    std::FILE* const copy = std::fopen("fuzz-input", "wb");
    if (copy != nullptr) {
      std::fwrite(input.data(), 1, input.size(), copy);
      std::fclose(copy);
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
  }
  std::remove("fuzz-input");
  std::printf("%lld inputs\n", runs);
  return 0;
}
