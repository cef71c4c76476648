// The course of the study: who answers, page after page, and the file at the end.
var study = JSON.parse(document.getElementById("study").textContent);
var keeper = new Keeper(study.study);
var sitting = null, pages = [], since = null, handedOut = true;
WORDS.choice.text = COMPARED[study.choice];

function byId(id) { return document.getElementById(id); }

function questionsOf(page) {
  if (page.boards.length === 2) return [WORDS.choice];
  var character = study.boards[page.boards[0]].character;
  return study.characters[character] ? [WORDS.quality, WORDS.identity] : [WORDS.quality];
}

function answerOf(page, question) { return sitting.answers[page.page + "/" + question.name]; }

function isAnswered(page) {
  return questionsOf(page).every(function (question) { return answerOf(page, question); });
}

function show(id) {
  ["introduction", "asking", "finish"].forEach(function (name) { byId(name).hidden = name !== id; });
  document.body.dataset.at = id;
  window.scrollTo(0, 0);
}

// Time counts while the page can be seen.
function spend() {
  if (since === null) return;
  var page = pages[sitting.at].page, now = performance.now();
  sitting.spent[page] = (sitting.spent[page] || 0) + now - since;
  since = now;
}

function save() {
  handedOut = false;
  byId("unsaved").hidden = keeper.save(sitting);
}

function leave() {
  spend();
  since = null;
  save();
}

function choose(page, question, value) {
  spend();
  sitting.answers[page.page + "/" + question.name] = { value: value, ms: Math.floor(sitting.spent[page.page]) };
  byId("missing").textContent = "";
  save();
  progress();
}

function progress() {
  var done = pages.filter(isAnswered).length;
  byId("done").max = pages.length;
  byId("done").value = done;
  byId("count").textContent = "Page " + (sitting.at + 1) + " of " + pages.length;
  byId("done").textContent = done + " of " + pages.length;
}

function ask(index) {
  sitting.at = index;
  var page = pages[index], pair = page.boards.length === 2;
  var boards = page.boards.map(function (board) { return study.boards[board]; });
  byId("heading").textContent = pair ? "Compare two storyboards" : "Look at one storyboard";
  // Of a pair it is asked which holds together, and who it should be must not sway that.
  var files = pair ? null : study.characters[boards[0].character];
  var cast = files ? [castOf(files)] : [];
  var shown = pair
    ? make("div", { class: "sides" }, boards.map(function (board, side) {
      var name = side ? "Right" : "Left";
      return make("section", { "aria-label": name }, [make("h2", {}, [name]), stripOf(board, name)]);
    }))
    : make("div", {}, [stripOf(boards[0], "The storyboard")]);
  byId("shown").className = cast.length ? "with-cast" : "";
  byId("shown").replaceChildren.apply(byId("shown"), cast.concat(shown));
  byId("questions").replaceChildren.apply(byId("questions"), questionsOf(page).map(function (question) {
    var said = answerOf(page, question);
    return fieldsetOf(question, said ? said.value : null, function (value) { choose(page, question, value); });
  }));
  byId("missing").textContent = "";
  byId("back").disabled = index === 0;
  byId("next").textContent = index + 1 < pages.length ? "Next" : "Finish";
  progress();
  show("asking");
  byId("heading").focus({ preventScroll: true });
  since = document.hidden ? null : performance.now();
  save();
}

function next() {
  var open = questionsOf(pages[sitting.at]).filter(function (question) { return !answerOf(pages[sitting.at], question); });
  if (open.length) {
    byId("missing").textContent = "Please answer first: " + open[0].text;
    byId("asked-" + open[0].name).querySelector("input").focus();
    return;
  }
  leave();
  if (sitting.at + 1 < pages.length) ask(sitting.at + 1); else finish();
}

function finish() {
  var left = pages.filter(function (page) { return !isAnswered(page); }).length;
  byId("thanks").textContent = left ? "Saved so far" : "Thank you";
  byId("state").textContent = left
    ? left + " of " + pages.length + " pages are not answered yet. You can go on now or later, or send what you have."
    : "All " + pages.length + " pages are answered. One step is left: save your answers to a file, and send it back.";
  byId("resume").textContent = left ? "Go on with the questions" : "Look through my answers";
  byId("raw").value = "";
  byId("copy").open = false;
  show("finish");
  byId("thanks").focus({ preventScroll: true });
}

function exportText() { return JSON.stringify(exported(study, sitting, pages, questionsOf), null, 1) + "\n"; }

function download() {
  var address = URL.createObjectURL(new Blob([exportText()], { type: "application/json" }));
  var link = make("a", { href: address, download: "answers-" + sitting.rater + ".json" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(function () { URL.revokeObjectURL(address); }, 60000);
  handedOut = true;
  byId("said").textContent = "Saved as answers-" + sitting.rater + ".json, where your browser keeps downloads.";
}

function begin(rater) {
  sitting = keeper.load(rater) || newSitting(rater);
  pages = pagesOf(study, rater);
  byId("who").textContent = rater;
  var open = pages.findIndex(function (page) { return !isAnswered(page); });
  if (open < 0) finish(); else ask(Math.min(open, pages.length - 1));
}

// As steps/study/exports.py allows it.
function cleanName(text) {
  var name = text.normalize("NFC").trim();
  return /^[\p{L}\p{N}_][\p{L}\p{M}\p{N}_ .-]{0,39}$/u.test(name) ? name : null;
}

byId("start").addEventListener("submit", function (event) {
  event.preventDefault();
  var name = cleanName(byId("name").value);
  byId("bad-name").hidden = name !== null;
  byId("name").setAttribute("aria-invalid", String(name === null));
  if (name === null) { byId("name").focus(); return; }
  begin(name);
});
byId("next").addEventListener("click", next);
byId("back").addEventListener("click", function () { leave(); ask(sitting.at - 1); });
byId("stop").addEventListener("click", function () { leave(); finish(); });
byId("resume").addEventListener("click", function () {
  var open = pages.findIndex(function (page) { return !isAnswered(page); });
  ask(Math.max(0, open));
});
byId("download").addEventListener("click", download);
byId("copy").addEventListener("toggle", function () { if (byId("copy").open) { byId("raw").value = exportText(); handedOut = true; } });
byId("forget").addEventListener("click", function () {
  if (byId("forget").dataset.sure) {
    keeper.remove(sitting.rater);
    handedOut = true;
    window.location.reload();
    return;
  }
  byId("forget").dataset.sure = "yes";
  byId("forget").textContent = "Delete for good: press again";
});
byId("close").addEventListener("click", function () { byId("large").close(); });

document.addEventListener("visibilitychange", function () {
  if (byId("asking").hidden || sitting === null) return;
  if (document.hidden) leave(); else since = performance.now();
});
window.addEventListener("pagehide", function () { if (sitting !== null && !byId("asking").hidden) leave(); });
window.addEventListener("beforeunload", function (event) {
  if (keeper.store || handedOut || sitting === null) return;
  event.preventDefault();
  event.returnValue = "";
});

document.addEventListener("keydown", function (event) {
  var off = byId("asking").hidden || byId("large").open || !byId("keys").checked;
  if (off || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  var on = event.target, pressable = on.closest("button, a, summary, [type=checkbox]");
  if (event.key === "Enter") {
    if (!pressable) { event.preventDefault(); next(); }
    return;
  }
  // The space bar presses what has the focus; a side that is chosen already has nothing more to press.
  if (event.key === " " && (pressable || (on.type === "radio" && !on.checked))) return;
  var pressed = { ArrowLeft: "←", ArrowRight: "→", " ": "Space" }[event.key] || event.key.toUpperCase();
  questionsOf(pages[sitting.at]).forEach(function (question) {
    question.options.forEach(function (option) {
      if (option[2] !== pressed) return;
      event.preventDefault();
      byId("asked-" + question.name).querySelector("[value='" + option[0] + "']").checked = true;
      choose(pages[sitting.at], question, option[0]);
    });
  });
});

keeper.raters().forEach(function (rater) {
  var found = keeper.load(rater);
  if (!found) return;
  var button = make("button", { type: "button" }, ["Go on as " + rater]);
  button.addEventListener("click", function () { begin(rater); });
  byId("known").append(make("li", {}, [button]));
  byId("earlier").hidden = false;
});
byId("blocked").hidden = keeper.store !== null;
byId("name").value = "r-" + randomHex(4) + "x";
byId("introduction").hidden = false;
document.body.dataset.at = "introduction";
