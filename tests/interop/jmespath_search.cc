// Lines of JSON [expression, document] on stdin; on stdout what each gives as JSON, or "error: …".
#include <iostream>
#include <string>

#include "ingest/jmespath/jmespath.h"
#include "ingest/jmespath/json_value.h"

namespace {

std::string Search(const std::string& line) {
  const auto question = millrace::ingest::ParseJsonValue(line).value();
  const auto path = millrace::ingest::JmesPath::Parse(question.at(0).as_string());
  if (!path.ok()) return "error: " + path.status().message();
  const auto found = path->Search(question.at(1));
  return found.ok() ? millrace::ingest::ToJsonText(*found) : "error: " + found.status().message();
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) std::cout << Search(line) << "\n";
  return 0;
}
