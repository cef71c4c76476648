// What a rater said, kept in this browser alone until it is saved to a file.
var FORMAT = "callsheet study answers 1";

function Keeper(study) {
  this.prefix = "callsheet-study/" + study + "/";
  this.store = null;
  try {
    window.localStorage.setItem(this.prefix + "?", "1");
    window.localStorage.removeItem(this.prefix + "?");
    this.store = window.localStorage;
  } catch (error) { /* Blocked or full: answers are kept in memory, and the page says so. */ }
}

Keeper.prototype.save = function (sitting) {
  if (!this.store) return false;
  try {
    this.store.setItem(this.prefix + sitting.rater, JSON.stringify(sitting));
    return true;
  } catch (error) {
    this.store = null;
    return false;
  }
};

Keeper.prototype.load = function (rater) {
  var found = null;
  try { found = JSON.parse(this.store.getItem(this.prefix + rater)); } catch (error) { return null; }
  return found && found.rater === rater && found.answers && found.spent ? found : null;
};

Keeper.prototype.remove = function (rater) {
  if (this.store) this.store.removeItem(this.prefix + rater);
};

Keeper.prototype.raters = function () {
  var found = [];
  for (var index = 0; this.store && index < this.store.length; index += 1) {
    var key = this.store.key(index);
    if (key.indexOf(this.prefix) === 0) found.push(key.slice(this.prefix.length));
  }
  return found.sort();
};

function randomHex(bytes) {
  return Array.prototype.map.call(crypto.getRandomValues(new Uint8Array(bytes)), function (byte) {
    return byte.toString(16).padStart(2, "0");
  }).join("");
}

function newSitting(rater) {
  return { rater: rater, session: randomHex(8), started_at: Date.now(), answers: {}, spent: {}, at: 0 };
}

// Sorted keys and no blanks, as steps/study/canonical.py writes it.
function canonical(value) {
  if (Array.isArray(value)) return "[" + value.map(canonical).join(",") + "]";
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return "{" + Object.keys(value).sort().map(function (key) {
    return JSON.stringify(key) + ":" + canonical(value[key]);
  }).join(",") + "}";
}

function exported(study, sitting, pages, questionsOf) {
  var answers = [], times = [], complete = true;
  pages.forEach(function (page) {
    questionsOf(page).forEach(function (question) {
      var said = sitting.answers[page.page + "/" + question.name];
      if (!said) { complete = false; return; }
      var answer = { page: page.page, question: question.name, value: said.value, ms: said.ms };
      if (page.boards.length === 2) answer.left = page.boards[0];
      answers.push(answer);
    });
    if (page.page in sitting.spent) times.push({ page: page.page, ms: Math.floor(sitting.spent[page.page]) });
  });
  var found = {
    format: FORMAT, study: study.study, rater: sitting.rater, session: sitting.session, started_at: sitting.started_at,
    exported_at: Date.now(), complete: complete, answers: answers, pages: times
  };
  found.checksum = sha256(canonical(found));
  return found;
}
