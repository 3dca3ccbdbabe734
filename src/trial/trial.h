/// A test file against its pipeline: each test's records are rehearsed, and what the tables hold then is held against
/// what it expects.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "config/config.h"
#include "config/test_file.h"
#include "pipeline/plan.h"
#include "trial/row_match.h"

namespace millrace::trial {

struct Verdict {
  std::string test;
  config::TestPlace place;
  std::vector<Difference> differences;  ///< Empty: it passed.
};

/// Of one file. With findings there may be no verdict on a test: the file names what the pipeline does not have.
struct Trial {
  std::string file;
  std::vector<Verdict> verdicts;          ///< By test, in the file's order.
  std::vector<config::Finding> findings;  ///< By place.
};

/// `file` was loaded without a finding, `plan` is its pipeline's. A failure is ours, not the test's.
Result<Trial> RunTests(const config::TestFile& file, std::shared_ptr<const pipeline::Plan> plan);

}  // namespace millrace::trial
