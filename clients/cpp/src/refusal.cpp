#include "refusal.h"

#include <string>
#include <vector>

#include <google/protobuf/descriptor.h>

#include "error.h"
#include "text.h"

namespace semserve {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// The most fields that one refusal names, as the server does.
constexpr std::size_t kMaxViolations = 16;

void collect(const Message& message, const std::string& path, std::vector<Violation>& bad);

// Looks at one value of a field: place -1 for a field that is no list.
void look(const Message& message, const FieldDescriptor& field, int place, const std::string& path,
          std::vector<Violation>& bad) {
  const auto& reflection = *message.GetReflection();
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    collect(place < 0 ? reflection.GetMessage(message, &field) : reflection.GetRepeatedMessage(message, &field, place),
            path, bad);
    return;
  }
  std::string kept;
  const auto& text = place < 0 ? reflection.GetStringReference(message, &field, &kept)
                               : reflection.GetRepeatedStringReference(message, &field, place, &kept);
  if (!is_utf8(text)) bad.push_back({path, "is not valid UTF-8"});
}

void collect(const Message& message, const std::string& path, std::vector<Violation>& bad) {
  std::vector<const FieldDescriptor*> fields;
  const auto& reflection = *message.GetReflection();
  reflection.ListFields(message, &fields);
  for (const auto* field : fields) {
    const bool is_text = field->type() == FieldDescriptor::TYPE_STRING;
    if (!is_text && field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const auto name = path.empty() ? field->name() : path + "." + field->name();
    if (!field->is_repeated()) {
      look(message, *field, -1, name, bad);
      continue;
    }
    for (int place = 0; place < reflection.FieldSize(message, field) && bad.size() < kMaxViolations; ++place) {
      look(message, *field, place, name + "[" + std::to_string(place) + "]", bad);
    }
  }
}

}  // namespace

std::optional<Error> refusal(const Message& request) {
  std::vector<Violation> bad;
  collect(request, "", bad);
  if (bad.empty()) return std::nullopt;
  if (bad.size() > kMaxViolations) bad.resize(kMaxViolations);
  return ErrorBuilder::refusing(std::move(bad));
}

}  // namespace semserve
