package io.semserve.client;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Refuses requests with strings that are not valid Unicode, which would be changed on the wire. */
final class WellFormed {
  /** Most fields that one refusal names, as the server has it. */
  private static final int MAX_VIOLATIONS = 16;

  private WellFormed() {}

  /**
   * Refuses a request that has half of a surrogate pair in a string. Protobuf would replace it, and
   * the server would answer for another text.
   *
   * @throws SemserveException INVALID_ARGUMENT, with the fields
   */
  static void check(Message request) {
    List<SemserveException.Violation> violations = new ArrayList<>();
    visit(request, "", violations);
    if (!violations.isEmpty()) {
      throw new SemserveException(violations);
    }
  }

  private static void visit(
      Message message, String path, List<SemserveException.Violation> violations) {
    for (Map.Entry<FieldDescriptor, Object> field : message.getAllFields().entrySet()) {
      String name = path + field.getKey().getName();
      if (field.getKey().isRepeated()) {
        List<?> items = (List<?>) field.getValue();
        for (int place = 0; place < items.size(); place++) {
          visitValue(items.get(place), name + "[" + place + "]", violations);
        }
      } else {
        visitValue(field.getValue(), name, violations);
      }
    }
  }

  private static void visitValue(
      Object value, String name, List<SemserveException.Violation> violations) {
    if (value instanceof Message message) {
      visit(message, name + ".", violations);
    } else if (value instanceof String text
        && !isWellFormed(text)
        && violations.size() < MAX_VIOLATIONS) {
      violations.add(new SemserveException.Violation(name, "is not valid Unicode"));
    }
  }

  static boolean isWellFormed(String text) {
    for (int place = 0; place < text.length(); place++) {
      char one = text.charAt(place);
      if (Character.isSurrogate(one)) {
        boolean pair =
            Character.isHighSurrogate(one)
                && place + 1 < text.length()
                && Character.isLowSurrogate(text.charAt(place + 1));
        if (!pair) {
          return false;
        }
        place++;
      }
    }
    return true;
  }
}
