/// Whether a text is JSON, as decoders see it: to the letter, and without an opinion on how large a number may be.
#pragma once

#include <string_view>

namespace millrace::infer {

enum class JsonKind {
  kNone,    ///< Not one document of JSON, or one that is nested too deeply to be read.
  kObject,  ///< One object.
  kOther,   ///< One array, text, number, true, false or null.
};

JsonKind JsonKindOf(std::string_view text);

}  // namespace millrace::infer
