// The conversation as it is edited: turns that can be added, removed, put in another order, and given images.

function sizeOf(address) {
  if (!address.startsWith("data:")) return address;
  const [head, data] = address.split(",", 2);
  return `${head.slice(5).split(";")[0]}, ${Math.ceil((data.length * 3) / 4 / 1024)} kB`;
}

function readImage(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

class TurnEditor {
  constructor(template, turn, turns) {
    this.kept = { images: [], thoughts: [], calls: [], model: "", is_error: false, ...turn };
    this.node = template.content.firstElementChild.cloneNode(true);
    this.role = this.find("role");
    this.text = this.find("text");
    this.role.value = turn.role;
    this.text.value = turn.text || "";
    this.find("call-id").value = turn.call_id || "";
    this.find("name").value = turn.name || "";
    this.role.addEventListener("change", () => this.show());
    this.find("up").addEventListener("click", () => turns.move(this, -1));
    this.find("down").addEventListener("click", () => turns.move(this, 1));
    this.find("remove").addEventListener("click", () => turns.remove(this));
    this.find("file").addEventListener("change", () => this.attach());
    this.show();
  }

  find(name) {
    return this.node.querySelector(`[data-${name}]`);
  }

  show() {
    const role = this.role.value;
    this.node.dataset.is = role;
    this.node.querySelector(".play-of-tool").hidden = role !== "tool";
    this.find("attach").hidden = role !== "user";
    this.find("images").replaceChildren(...(role === "user" ? this.kept.images.map((each) => this.chip(each)) : []));
    this.find("calls").replaceChildren(...(role === "assistant" ? this.kept.calls.map(callNode) : []));
  }

  chip(address) {
    const item = document.createElement("li");
    const remove = document.createElement("button");
    remove.type = "button";
    remove.textContent = "✕";
    remove.setAttribute("aria-label", this.find("remove").getAttribute("aria-label"));
    remove.addEventListener("click", () => {
      this.kept.images = this.kept.images.filter((each) => each !== address);
      this.show();
      this.node.dispatchEvent(new Event("change", { bubbles: true }));
    });
    item.append(sizeOf(address), remove);
    return item;
  }

  async attach() {
    const input = this.find("file");
    const files = [...input.files];
    input.value = "";
    this.kept.images = [...this.kept.images, ...(await Promise.all(files.map(readImage)))];
    this.show();
    this.node.dispatchEvent(new Event("change", { bubbles: true }));
  }

  get turn() {
    const role = this.role.value;
    const turn = { role, text: this.text.value };
    if (role === "user") turn.images = this.kept.images;
    if (role === "assistant") {
      turn.calls = this.kept.calls;
      turn.model = this.kept.model;
      // What a provider signed holds as long as nobody changed the words.
      turn.thoughts = turn.text === (this.kept.text || "") ? this.kept.thoughts : [];
    }
    if (role === "tool") {
      turn.call_id = this.find("call-id").value;
      turn.name = this.find("name").value;
      turn.is_error = this.kept.is_error;
    }
    return turn;
  }
}

export function callNode(call) {
  const node = document.createElement("div");
  const name = document.createElement("strong");
  const args = document.createElement("pre");
  node.className = "play-call";
  name.textContent = call.name;
  args.textContent = pretty(call.arguments);
  node.append(name, args);
  return node;
}

export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

export class Turns {
  constructor(list, template, changed) {
    this.list = list;
    this.template = template;
    this.changed = changed;
    this.editors = [];
  }

  add(turn, focus = false) {
    const editor = new TurnEditor(this.template, turn, this);
    this.editors.push(editor);
    this.list.append(editor.node);
    if (focus) editor.text.focus();
    this.changed();
  }

  remove(editor) {
    this.editors = this.editors.filter((each) => each !== editor);
    editor.node.remove();
    this.changed();
  }

  move(editor, by) {
    const from = this.editors.indexOf(editor);
    const to = from + by;
    if (to < 0 || to >= this.editors.length) return;
    this.editors.splice(to, 0, ...this.editors.splice(from, 1));
    this.list.replaceChildren(...this.editors.map((each) => each.node));
    this.changed();
  }

  get all() {
    return this.editors.map((editor) => editor.turn);
  }

  set all(turns) {
    this.editors = [];
    this.list.replaceChildren();
    for (const turn of turns) this.add(turn);
  }
}
