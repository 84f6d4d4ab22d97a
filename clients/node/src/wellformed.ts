// Refuses requests with strings that are not valid Unicode, which would be changed on the wire.

import { SemserveError, type Violation } from "./errors.js";

/** Most fields that one refusal names, as the server has it. */
const MAX_VIOLATIONS = 16;

/**
 * Throws INVALID_ARGUMENT where a string of the request has half of a surrogate pair. Protobuf would
 * replace it with U+FFFD, and the server would answer for another text.
 */
export function checkStrings(request: object): void {
  const violations: Violation[] = [];
  visit(request, "", violations);
  if (violations.length > 0) {
    const message = violations.map(({ field, description }) => `${field}: ${description}`).join("; ");
    throw new SemserveError("INVALID_ARGUMENT", message, { violations });
  }
}

function visit(value: unknown, path: string, violations: Violation[]): void {
  if (violations.length >= MAX_VIOLATIONS) {
    return;
  }
  if (typeof value === "string") {
    if (!isWellFormed(value)) {
      violations.push({ field: path, description: "is not valid Unicode" });
    }
  } else if (Array.isArray(value)) {
    value.forEach((item, place) => visit(item, `${path}[${place}]`, violations));
  } else if (typeof value === "object" && value !== null) {
    for (const [name, item] of Object.entries(value)) {
      if (!name.startsWith("$")) {
        visit(item, path ? `${path}.${snake(name)}` : snake(name), violations);
      }
    }
  }
}

// A surrogate without its other half; the flag u makes a whole pair one character.
const LONE_SURROGATE = /\p{Surrogate}/u;

function isWellFormed(text: string): boolean {
  return !LONE_SURROGATE.test(text);
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
