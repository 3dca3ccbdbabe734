/// A draft as the text of pipeline.yaml, with a comment beside each line that is a guess.
#pragma once

#include <string>
#include <string_view>

#include "infer/draft.h"

namespace millrace::infer {

/// No value of the sample is in it: names, counts and types alone. Passwords and keys among the broker's properties are
/// variables there, which `run` asks for.
std::string PipelineText(const Draft& draft);

/// `text` as a scalar of YAML in a flow or a block, which the configuration reads back as it is: in quotes unless it is
/// a plain word.
std::string YamlText(std::string_view text);

}  // namespace millrace::infer
