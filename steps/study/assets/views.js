// Pieces of the page. Texts are set as text, never as HTML.
var WORDS = {
  quality: {
    name: "quality", text: "How good is this storyboard, as pictures that tell the scenes below them?",
    options: [[1, "Bad", "1"], [2, "Poor", "2"], [3, "Fair", "3"], [4, "Good", "4"], [5, "Excellent", "5"]]
  },
  identity: {
    name: "identity", text: "Is this the character?",
    options: [["yes", "Yes", "Y"], ["no", "No", "N"], ["cant_tell", "Can’t tell", "C"]]
  },
  choice: {
    name: "choice",
    options: [["left", "Left", "←"], ["none", "No preference", "Space"], ["right", "Right", "→"]]
  }
};
var COMPARED = {
  consistent: "Which side shows the same character more consistently, from frame to frame?",
  better: "Which side is better, all in all?"
};

function make(tag, attributes, children) {
  var element = document.createElement(tag);
  Object.keys(attributes || {}).forEach(function (name) {
    if (attributes[name] !== null) element.setAttribute(name, attributes[name]);
  });
  (children || []).forEach(function (child) { element.append(child); });
  return element;
}

function picture(file, alt) {
  var image = make("img", { src: file, alt: alt, decoding: "async" });
  image.addEventListener("error", function () { document.getElementById("lost").hidden = false; });
  return image;
}

// A picture that can be looked at large.
function enlargeable(file, alt, caption) {
  var button = make("button", { type: "button", class: "frame", title: "Enlarge" }, [picture(file, alt)]);
  button.addEventListener("click", function () {
    var dialog = document.getElementById("large");
    dialog.querySelector("figure").replaceChildren(picture(file, alt), make("figcaption", {}, [caption]));
    dialog.showModal();
  });
  return button;
}

function stripOf(board, name) {
  var frames = board.frames;
  return make("ol", { class: "strip", role: "list", "aria-label": name, "data-frames": Math.min(frames.length, 9) }, frames.map(function (frame, index) {
    var alt = frame.alt || "Frame " + (index + 1) + " of " + frames.length;
    var words = frame.text ? [make("b", {}, [String(index + 1)]), " " + frame.text] : [];
    return make("li", {}, [make("figure", {}, [
      enlargeable(frame.file, alt, frame.text || ""), make("figcaption", { dir: "auto" }, words)
    ])]);
  }));
}

function castOf(files) {
  return make("aside", { class: "cast", "aria-label": "The character" }, [
    make("h2", {}, ["This is the character"]),
    make("div", { class: "portraits" }, files.map(function (file, index) {
      return enlargeable(file, "The character, picture " + (index + 1) + " of " + files.length, "The character");
    }))
  ]);
}

function fieldsetOf(question, value, onChoose) {
  return make("fieldset", { id: "asked-" + question.name }, [
    make("legend", {}, [question.text]),
    make("div", { class: "options" }, question.options.map(function (option) {
      var input = make("input", { type: "radio", name: question.name, value: option[0] });
      input.checked = option[0] === value;
      input.addEventListener("change", function () { onChoose(option[0]); });
      var points = typeof option[0] === "number" ? [make("strong", {}, [String(option[0])]), " "] : [];
      return make("label", {}, [input, make("span", {}, points.concat(option[1])), make("kbd", { "aria-hidden": "true" }, [option[2]])]);
    }))
  ]);
}
