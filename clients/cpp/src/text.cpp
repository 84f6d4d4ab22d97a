#include "text.h"

#include <algorithm>
#include <cstddef>

namespace semserve {
namespace {

constexpr auto kWhiteSpace = " \t\r\n\f\v";

struct Form {
  std::size_t length;     // bytes in all
  unsigned char low, high;  // the bounds of the second byte
};

// What follows a first byte, by table 3-7 of the Unicode Standard; of length 0 where nothing may.
Form form_of(unsigned char first) {
  if (first < 0x80) return {1, 0, 0};
  if (first >= 0xc2 && first <= 0xdf) return {2, 0x80, 0xbf};
  if (first == 0xe0) return {3, 0xa0, 0xbf};
  if (first == 0xed) return {3, 0x80, 0x9f};
  if (first >= 0xe1 && first <= 0xef) return {3, 0x80, 0xbf};
  if (first == 0xf0) return {4, 0x90, 0xbf};
  if (first >= 0xf1 && first <= 0xf3) return {4, 0x80, 0xbf};
  if (first == 0xf4) return {4, 0x80, 0x8f};
  return {0, 0, 0};
}

}  // namespace

std::string trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(kWhiteSpace);
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(kWhiteSpace) - first + 1));
}

std::string lower(std::string_view text) {
  std::string made(text);
  std::transform(made.begin(), made.end(), made.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  return made;
}

bool is_utf8(std::string_view text) {
  const auto byte = [&](std::size_t place) { return static_cast<unsigned char>(text[place]); };
  for (std::size_t place = 0; place < text.size();) {
    const auto form = form_of(byte(place));
    if (form.length == 0 || place + form.length > text.size()) return false;
    if (form.length > 1 && (byte(place + 1) < form.low || byte(place + 1) > form.high)) return false;
    for (std::size_t next = 2; next < form.length; ++next) {
      if ((byte(place + next) & 0xc0) != 0x80) return false;
    }
    place += form.length;
  }
  return true;
}

}  // namespace semserve
