/// Which of the rows that were found are those that were expected.
#pragma once

#include <arrow/type.h>

#include <optional>
#include <string>
#include <vector>

#include "config/test_file.h"

namespace millrace::trial {

/// Rows as text, see value_text.h.
struct TextRows {
  struct Column {
    std::string name;
    std::shared_ptr<arrow::DataType> type;
    bool by_part = false;  ///< A text: what is expected need only be a part of it.
  };
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;
};

/// What does not fit, of one row or of a whole test.
struct Difference {
  enum class Kind {
    kDiffers,     ///< An expected row, and the found one that is nearest to it.
    kMissing,     ///< An expected row, and none is like it.
    kUnexpected,  ///< A found row that nobody expects.
    kOther,       ///< `detail` says it.
  };
  struct Cell {
    std::string column;
    std::optional<std::string> expected;
    std::optional<std::string> found;
    bool fits = true;
  };
  Kind kind = Kind::kOther;
  std::string where;        ///< "tables.clicks", "aggregates.clicks_1m", "dead_letters", "error".
  config::TestPlace place;  ///< Of the expected row; of the expectation else.
  std::vector<Cell> cells;
  std::string detail;
};

/// What is wrong with the test file itself.
struct Misfit {
  config::TestPlace place;
  std::string message;
};

/// Each expected row may stand for one found row whose columns that it names are as it says; order is free. All rows
/// are matched if there is a way to do so. `misfits` gets columns that there are not, with the nearest name, and values
/// that their column cannot hold; nothing is compared then.
std::vector<Difference> MatchRows(const config::ExpectedRows& expected, const TextRows& found, const std::string& where,
                                  std::vector<Misfit>& misfits);

}  // namespace millrace::trial
