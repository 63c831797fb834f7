// JSON whose whole numbers stay what they are: a seed may be larger than this language's numbers are exact.

/** What a text says; a number that would be rounded becomes a BigInt, where the browser shows its digits. */
export function read(text) {
  return JSON.parse(text, (_key, value, found) => {
    const rounded = typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(found?.source ?? "");
    return rounded ? BigInt(found.source) : value;
  });
}

/** The text of a value, with every digit of a BigInt. */
export function write(value) {
  return JSON.stringify(value, (_key, each) => (typeof each === "bigint" ? JSON.rawJSON(String(each)) : each));
}

/** The number that a person has written, whole ones with every digit. */
export function numberOf(text) {
  const number = Number(text);
  return /^-?\d+$/.test(text) && !Number.isSafeInteger(number) && JSON.rawJSON ? BigInt(text) : number;
}
