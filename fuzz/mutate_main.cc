// A fuzzer for compilers without libFuzzer: mutates inputs at random (seeded) for some CPU time, which is the same work
// on a busy machine, and runs the target. Where the code is built with -fsanitize=coverage (the preset `fuzz`), an
// input that reaches more of it is kept in ./fuzz-found and mutated further; elsewhere only the corpus is. usage:
// TARGET_mutate SECONDS SEED CORPUS...; the input at work is in ./fuzz-input when the target dies.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::size_t kSizeMax = 1 << 16;

// How often each block of the code ran for the input at work, by a hash of its address. Blocks that share a hash are
// one.
constexpr unsigned kBlockBits = 17;
std::array<std::uint8_t, 1 << kBlockBits> runs_of_block;

}  // namespace

// What GCC calls at the begin of each block.
extern "C" __attribute__((no_sanitize("address", "undefined"))) void __sanitizer_cov_trace_pc() {
  const auto address = reinterpret_cast<std::uint64_t>(__builtin_return_address(0));
  std::uint8_t& runs = runs_of_block[address * 0x9E3779B97F4A7C15 >> (64 - kBlockBits)];
  if (runs != 0xFF) ++runs;
}

namespace {

// What has been reached by all inputs until now: of each block the numbers of runs, rounded to powers of two.
class Reached {
 public:
  // Takes what the last input has reached; true: some of it was new.
  bool TakeNew() {
    bool is_new = false;
    // Eight at a time: most blocks do not run.
    for (std::size_t i = 0; i < runs_of_block.size(); i += sizeof(std::uint64_t)) {
      std::uint64_t eight;
      __builtin_memcpy(&eight, &runs_of_block[i], sizeof eight);
      if (eight == 0) continue;
      for (std::size_t j = i; j < i + sizeof eight; ++j) {
        if (runs_of_block[j] == 0) continue;
        const auto bit = static_cast<std::uint8_t>(1 << (31 - __builtin_clz(runs_of_block[j])));
        if (seen_[j] == 0) ++blocks_;
        is_new |= (seen_[j] & bit) == 0;
        seen_[j] |= bit;
      }
    }
    runs_of_block.fill(0);
    return is_new;
  }

  int blocks() const { return blocks_; }

 private:
  std::array<std::uint8_t, 1 << kBlockBits> seen_{};
  int blocks_ = 0;
};

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

void Run(const std::string& input) {
  // Kept where it survives the target's death; the folder may be in memory.
  std::FILE* const copy = std::fopen("fuzz-input", "wb");
  if (copy != nullptr) {
    std::fwrite(input.data(), 1, input.size(), copy);
    std::fclose(copy);
  }
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 64;
  const auto seconds = [] { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; };
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
  static Reached reached;
  for (const std::string& input : corpus) Run(input);
  reached.TakeNew();
  const int blocks_before = reached.blocks();
  const std::size_t corpus_before = corpus.size();
  std::filesystem::create_directories("fuzz-found");
  long long runs = 0;
  for (const double end = std::atof(argv[1]); seconds() < end; ++runs) {
    const std::string input = Mutated(corpus, random);
    Run(input);
    if (!reached.TakeNew()) continue;
    std::ofstream("fuzz-found/" + std::to_string(corpus.size()), std::ios::binary) << input;
    corpus.push_back(input);
  }
  std::remove("fuzz-input");
  std::printf("%lld inputs in %.0f s of CPU time; blocks %d -> %d, corpus %zu -> %zu\n", runs, seconds(), blocks_before,
              reached.blocks(), corpus_before, corpus.size());
  return 0;
}
