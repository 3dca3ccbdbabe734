/// An answer of the HTTP API, as JSON, for people. What is printed of a value is what is written there: no number
/// is read and written again, which would lose the last digits of some.
///
/// kCorrupt: it is not such an answer.
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

namespace millrace::app {

/// {"meta": [{"name"}], "data": [{column: value}]}, each row in the order of "meta". Nested values stay JSON.
Result<std::string> AnswerToTable(const std::string& answer);

/// The answer's "errors" in sentences, so that nobody takes what is missing for NULLs of the data: "revenue in
/// {"country":"DE"}: The sum ...". Empty: all values are there.
Result<std::vector<std::string>> MissingValuesOfAnswer(const std::string& answer);
/// The same of the array alone, as other formats have it in a header; empty text: none.
Result<std::vector<std::string>> MissingValues(const std::string& errors);

/// The answer's "partial": "http://worker-2:8080 (timed out)". Empty: the rows of all workers are in it.
Result<std::vector<std::string>> SilentWorkersOfAnswer(const std::string& answer);
/// The same of the array alone, without the reasons; empty text: none.
Result<std::vector<std::string>> SilentWorkers(const std::string& partial);

}  // namespace millrace::app
