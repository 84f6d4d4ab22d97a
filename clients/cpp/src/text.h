// Strings.
#pragma once

#include <string>
#include <string_view>

namespace semserve {

/// The text without white space around it.
std::string trimmed(std::string_view text);

/// The text with ASCII letters in lower case.
std::string lower(std::string_view text);

/// Whether the text is valid UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view text);

}  // namespace semserve
