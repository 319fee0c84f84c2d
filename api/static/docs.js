// Shows /api/v1/openapi.json. Everything is put in as text, never as markup.

const METHODS = ["get", "put", "post", "patch", "delete"];

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Text in which `names` stand between backticks.
function prose(text) {
  return text.split("`").map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const options = schema.anyOf ?? schema.oneOf;
  if (options) return options.map(typeOf).join(" | ");
  if (schema.type === "array") return `${typeOf(schema.items) || "any"}[]`;
  return schema.format ?? schema.type ?? "any";
}

function limitsOf(schema) {
  const said = [];
  if (schema.default !== undefined && schema.default !== null) said.push(`default ${schema.default}`);
  if (schema.minimum !== undefined) said.push(`from ${schema.minimum}`);
  if (schema.maximum !== undefined) said.push(`to ${schema.maximum}`);
  return said.join(", ");
}

function table(heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, ...(typeof cell === "string" ? prose(cell) : [cell])))));
  const made = element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": heads[0] }, made);
}

function parameterTable(parameters) {
  return table(
    ["Parameter", "Type", "Meaning"],
    parameters.map((parameter) => [
      element("code", {}, parameter.name),
      `${typeOf(parameter.schema)}${parameter.required ? ", required" : ""}`,
      [parameter.description, limitsOf(parameter.schema), `in ${parameter.in}`].filter(Boolean).join(" · "),
    ]),
  );
}

function shapeOf(schema, schemas, open = []) {
  const name = schema?.$ref?.split("/").pop();
  if (name) return open.includes(name) ? `<${name}>` : shapeOf(schemas[name], schemas, [...open, name]);
  if (schema?.properties) {
    const fields = Object.entries(schema.properties);
    return Object.fromEntries(fields.map(([key, value]) => [key, shapeOf(value, schemas, open)]));
  }
  if (schema?.type === "array") return [shapeOf(schema.items, schemas, open)];
  const options = (schema?.anyOf ?? []).filter((option) => option.type !== "null");
  if (options.length === 1 && options[0].$ref) return shapeOf(options[0], schemas, open);
  return typeOf(schema);
}

function shape(title, schema, schemas) {
  const text = JSON.stringify(schemas ? shapeOf(schema, schemas) : schema, null, 2);
  return element("details", {}, element("summary", {}, title), element("pre", { tabindex: "0" }, text));
}

function tryIt(path, operation) {
  const form = element("form", { class: "try" });
  const parameters = (operation.parameters ?? []).filter((parameter) => parameter.in !== "header");
  for (const parameter of parameters) {
    const id = `${operation.operationId}-${parameter.name}`;
    const input = element("input", { id, name: parameter.name, autocomplete: "off" });
    input.required = parameter.required;
    form.append(element("div", {}, element("label", { for: id }, parameter.name), input));
  }
  form.append(element("button", { class: "primary", type: "submit" }, "Send"));
  const output = element("pre", { tabindex: "0", "aria-live": "polite" });
  output.hidden = true;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const values = new FormData(form);
    const query = new URLSearchParams();
    let target = path;
    for (const parameter of parameters) {
      const value = values.get(parameter.name);
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(value));
      else if (value) query.set(parameter.name, value);
    }
    output.hidden = false;
    output.textContent = "…";
    try {
      const answer = await fetch(query.size ? `${target}?${query}` : target);
      const text = await answer.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* shown as it came */ }
      output.textContent = `${answer.status} ${answer.statusText}\n\n${shown}`;
    } catch (error) {
      output.textContent = `No answer: ${error.message}`;
    }
  });
  const note = element("p", {}, "Sent with the session of the live view; sign in there first.");
  return element("details", {}, element("summary", {}, "Try it"), note, form, output);
}

function show(path, method, operation, schemas) {
  const heading = element("h3", {},
    element("span", { class: `method ${method}` }, method.toUpperCase()), element("code", {}, path));
  const made = element("section", { class: "operation", id: operation.operationId }, heading,
    element("p", {}, operation.summary));
  if (operation.description) made.append(element("p", {}, ...prose(operation.description)));
  if (operation.parameters?.length) made.append(element("h4", {}, "Parameters"), parameterTable(operation.parameters));
  for (const [type, content] of Object.entries(operation.requestBody?.content ?? {})) {
    made.append(shape(`Body: ${type}`, content.schema, schemas));
    const name = content.schema.$ref?.split("/").pop();
    for (const example of schemas[name]?.examples ?? []) made.append(shape("Example body", example));
  }
  made.append(element("h4", {}, "Answers"), table(
    ["Status", "Meaning"],
    Object.entries(operation.responses).map(([status, answer]) => [status, answer.description]),
  ));
  for (const [status, answer] of Object.entries(operation.responses)) {
    const schema = answer.content?.["application/json"]?.schema;
    if (schema && status < 300) made.append(shape(`Shape of ${status}`, schema, schemas));
  }
  const streamed = Object.values(operation.responses).some((answer) => answer.content?.["text/event-stream"]);
  if (method === "get" && !streamed) made.append(tryIt(path, operation));
  return made;
}

async function start() {
  const lead = document.getElementById("lead");
  let document_;
  try {
    const answer = await fetch("/api/v1/openapi.json");
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    document_ = await answer.json();
  } catch (error) {
    lead.textContent = `The description could not be loaded: ${error.message}. Reload to try again.`;
    return;
  }
  document.getElementById("title").textContent = `${document_.info.title} API ${document_.info.version}`;
  lead.textContent = document_.info.description;
  const byTag = new Map();
  for (const [path, operations] of Object.entries(document_.paths)) {
    for (const method of METHODS.filter((name) => operations[name])) {
      const operation = operations[method];
      const tag = operation.tags?.[0] ?? "other";
      byTag.set(tag, [...(byTag.get(tag) ?? []), [path, method, operation]]);
    }
  }
  const contents = document.getElementById("contents");
  const operations = document.getElementById("operations");
  for (const [tag, entries] of byTag) {
    contents.append(element("strong", {}, tag));
    for (const [path, method, operation] of entries) {
      contents.append(element("a", { href: `#${operation.operationId}` }, operation.summary));
      operations.append(show(path, method, operation, document_.components.schemas));
    }
  }
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

start();
