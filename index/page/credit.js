// Who made a picture and under which licence, where the list says so; else the site it came from.

import { el } from "./dom.js";
import { web } from "./pictures.js";

const CREATORS = ["creator", "author", "photographer", "artist", "attribution"];
const LICENCES = ["license", "licence", "rights", "usage_terms", "license_url"];
const NAMES = [
  [/publicdomain\/zero|cc0/i, "CC0"],
  [/publicdomain|public[ _-]domain/i, "public domain"],
  [/creativecommons\.org\/licenses\/([a-z-]+)\/([\d.]+)/i, (m) => `CC ${m[1].toUpperCase()} ${m[2]}`],
];

const first = (row, names) => names.map((name) => row[name]).find((value) => value) ?? "";

/** A licence as people name it; an address of a known one is shortened. */
function licenceName(text) {
  for (const [pattern, name] of NAMES) {
    const match = pattern.exec(text);
    if (match) return typeof name === "string" ? name : name(match);
  }
  return web(text) ? new URL(text).host : text;
}

/** The host of an address, "" for what is none. */
export const site = (address) => (web(address) ? new URL(address).host : "");

/** The line under a picture: creator, licence, site. */
export function credit(row, { links = false } = {}) {
  const creator = String(first(row, CREATORS));
  const licence = String(first(row, LICENCES));
  const said = licence ? licenceName(licence) : "";
  const parts = [];
  if (creator) parts.push(creator);
  if (said) parts.push(linked(said, web(licence), links, "license"));
  if (!parts.length || links) parts.push(linked(site(row.url), web(row.url), links, "nofollow"));
  const line = el("p", { class: "credit" });
  parts.filter(Boolean).forEach((part, at) => line.append(at ? ", " : "", part));
  return line;
}

function linked(text, address, links, rel) {
  if (!text || !links || !address) return text;
  return el("a", { href: address, rel: `noreferrer ${rel}`, target: "_blank" }, text);
}
