// What a tap shows. On a wide screen it stands beside the text; on a narrow one it comes up from the bottom, where the
// thumb is, and the page moves so that the text that was tapped stays in sight above it.

const STACKED = "(max-width: 55.99rem)"; // where the style sheet puts the columns one under the other
const CLEARANCE = 24; // pixels between what was tapped and the sheet

export class Sheet {
  // `box` has the class `sheet`, which the style sheet places, and a button to close it.
  constructor(box) {
    this.box = box;
    box.querySelector(".close").addEventListener("click", () => this.close());
    addEventListener("keydown", (event) => { if (event.key === "Escape") this.close(); });
    matchMedia(STACKED).addEventListener("change", () => this.close());
  }

  // Brings the sheet up for `tapped`, an element of the page.
  show(tapped) {
    if (!matchMedia(STACKED).matches) return;
    this.box.classList.add("open");
    document.body.style.paddingBottom = `${this.box.offsetHeight + CLEARANCE}px`;
    const below = tapped.getBoundingClientRect().bottom + CLEARANCE - this.box.getBoundingClientRect().top;
    if (below > 0) scrollBy(0, below);
  }

  close() {
    if (!this.box.classList.contains("open")) return;
    this.box.classList.remove("open");
    document.body.style.paddingBottom = "";
  }
}
